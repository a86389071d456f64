package browsertest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

// A node is killed. The other nodes see that it is missing, and later that it is gone. Its users reconnect to another
// node, in their rooms, and can be reached there. After its restart the node is listed again.
func TestNodeDies(t *testing.T) {
	t.Parallel() // most of it is waiting for timeouts
	for _, names := range deaths {
		watcher, dying := names[0], names[1]
		t.Run(dying+" seen from "+watcher, func(t *testing.T) {
			t.Parallel()
			fleet := browsertest.StartFleet(t, kinds...)
			browser := browsertest.StartBrowser(t)
			node := byName(fleet)
			a, b := node[watcher], node[dying]
			ada := browser.Open(t, a, "ada", "lobby", "ops")
			bob := browser.Open(t, b, "bob", "lobby", "ops")
			ada.UntilMembers("ada@"+a.Name, "bob@"+b.Name)
			for _, n := range fleet.Nodes {
				ada.UntilNode(n, "up")
			}

			b.Kill()
			ada.UntilNode(b, "missing")
			ada.UntilNotice("Node " + b.Name + " does not answer.")

			bob.Until("bob is on another node", `(name) => document.body.dataset.state === "connected"
				&& document.querySelector("#status .badge").textContent !== name`, b.Name)
			other := bob.Node()
			assert.Equal(t, []string{"lobby", "ops"}, bob.Rooms(), "back")
			bob.UntilNotice("Connection to " + b.Name + " lost (transport close)")
			ada.UntilMembers("ada@"+a.Name, "bob@"+other)
			ada.Click(room(2))
			ada.UntilMembers("ada@"+a.Name, "bob@"+other)
			bob.Click(room(2))
			bob.Say("alive in ops")
			ada.UntilSaid("bob", other, "alive in ops")

			ada.UntilNode(b, "gone")
			ada.UntilNotice("Node " + b.Name + " is gone.")
			b.Restart()
			ada.UntilNode(b, "up")
			ada.UntilNotice("Node " + b.Name + " is back.")
		})
	}
}

// A frozen node keeps its connections and does not respond. It is listed as missing, its members are omitted, and no
// later request waits for it. After it continues it is listed again.
func TestNodeFreezes(t *testing.T) {
	t.Parallel()
	fleet := browsertest.StartFleet(t, kinds...)
	browser := browsertest.StartBrowser(t)
	node := byName(fleet)
	for _, names := range deaths {
		watcher, frozen := names[0], names[1]
		t.Run(frozen+" seen from "+watcher, func(t *testing.T) {
			a, b := node[watcher], node[frozen]
			ada := browser.Open(t, a, "ada", "room of "+t.Name())
			bob := browser.Open(t, b, "bob", "room of "+t.Name())
			ada.UntilMembers("ada@"+a.Name, "bob@"+b.Name)
			ada.UntilNode(b, "up")

			b.Freeze()
			ada.UntilNode(b, "missing")
			ada.Until("the members of "+b.Name+" are missing", `(name) => document.querySelector("#partial").textContent.includes(name)`, b.Name)
			ada.Say("anybody?")
			ada.UntilSaid("ada", a.Name, "anybody?")

			b.Thaw()
			ada.UntilNode(b, "up")
			bob.UntilConnected(nil)
			ada.Until("no node is missing", `() => document.querySelector("#partial").textContent === ""`)
		})
	}
}

// room finds the button of the n-th room.
func room(n int) string { return fmt.Sprintf("#rooms li:nth-child(%d) .room", n) }
