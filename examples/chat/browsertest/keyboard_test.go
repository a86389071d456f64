package browsertest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

// focused describes what has the keyboard's focus.
const focused = `() => { const e = document.activeElement; return e.getAttribute("aria-label") || e.id || e.textContent.trim() }`

// The whole page can be used with the keyboard alone.
func TestKeyboard(t *testing.T) {
	fleet := browsertest.StartFleet(t, kinds...)
	browser := browsertest.StartBrowser(t)
	a, b := fleet.Nodes[0], fleet.Nodes[1]
	ada := browser.Tab(t)
	ada.Navigate(a.URL())
	ada.Until("the name has the focus", `() => document.activeElement.id === "name"`)
	ada.Keys("ada\r")
	ada.UntilConnected(a)
	ada.Until("the message box has the focus", `() => document.activeElement.id === "text"`)
	bob := browser.Open(t, b, "bob", "lobby") // the second: the first one may kick
	ada.UntilMembers("ada@"+a.Name, "bob@"+b.Name)
	ada.Keys("hello there\r")
	bob.UntilSaid("ada", a.Name, "hello there")
	bob.Say("hello back")
	ada.UntilSaid("bob", b.Name, "hello back")

	// Tab visits everything once, in the order on the screen.
	browsertest.Read[bool](ada, `() => { document.querySelector(".skip").focus(); return true }`)
	var order []string
	for range 30 {
		order = append(order, browsertest.Read[string](ada, focused))
		if order[len(order)-1] == "Kick bob" {
			break
		}
		ada.Keys("\t")
	}
	want := []string{"Skip to the message box", "name", "node", "connect", "lobby", "Leave lobby", "room", "Join the room", "log", "text", "pick", "Send", "Kick bob"}
	assert.Equal(t, want, order, "Tab goes through")

	// Lists are drawn again each second, without taking the focus away.
	browsertest.Read[bool](ada, `() => document.activeElement.old = true`)
	ada.Until("the button is drawn again, and has the focus", `() => !document.activeElement.old && document.activeElement.getAttribute("aria-label") === "Kick bob"`)
	ada.Keys("\r")
	ada.UntilMembers("ada@" + a.Name)
	bob.UntilNotice("You were kicked by ada.")

	unnamed := browsertest.Read[[]string](ada, `() => [...document.querySelectorAll("input:not([hidden]), select, textarea, button, a")]
		.filter((e) => !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML)`)
	assert.Empty(t, unnamed, "a screen reader has no name")
	for _, region := range []string{"#log", "#status", "#partial"} {
		assert.True(t, browsertest.Read[bool](ada, `(css) => ["status", "log"].includes(document.querySelector(css).getAttribute("role"))`, region), "%s is not read out when it changes", region)
	}
}
