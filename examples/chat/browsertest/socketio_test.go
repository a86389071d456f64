package browsertest_test

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

// TestSocketIOServer has browsers chat over examples/socketio and a Node.js node, and makes the picture of that example.
func TestSocketIOServer(t *testing.T) {
	t.Parallel()
	fleet := browsertest.StartFleet(t, "zishang520", "zishang520", "node")
	browser := browsertest.StartBrowser(t)
	one, two, three := fleet.Nodes[0], fleet.Nodes[1], fleet.Nodes[2]
	ada, grace := browser.Open(t, one, "Ada", "lobby"), browser.Open(t, two, "Grace", "lobby")
	linus := browser.Open(t, three, "Linus", "lobby")
	for _, p := range []*browsertest.Page{ada, grace, linus} {
		p.UntilMembers("Ada@"+one.Name, "Grace@"+two.Name, "Linus@"+three.Name)
	}
	for _, line := range []struct {
		page *browsertest.Page
		name string
		node *browsertest.Node
		text string
	}{
		{grace, "Grace", two, "Good morning! A Socket.IO server in Go here, with Crossroom."},
		{linus, "Linus", three, "And Node.js here: same Redis, same room. Grüße aus Helsinki 👋"},
		{ada, "Ada", one, "Every message takes one hop, whichever way it goes."},
	} {
		line.page.Say(line.text)
		for _, p := range []*browsertest.Page{ada, grace, linus} {
			p.UntilSaid(line.name, line.node.Name, line.text)
		}
	}
	drawing := drawSketch(t, ada)
	grace.Send(drawing, "The plan, as a picture.")
	for _, p := range []*browsertest.Page{ada, linus} {
		p.Until("the picture is there", `() => document.querySelector("#log img")?.complete`)
	}
	for _, n := range fleet.Nodes {
		ada.UntilNode(n, "up")
	}
	picture := ada.Screenshot(false)
	_, err := png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	if *pictures != "" {
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, "socketio.png"), picture, 0o644))
	}

	// Members that are kicked by another node, and members that leave.
	grace.Click(`[aria-label="Kick Ada"]`)
	grace.UntilNotice("Not kicked: only the room's first member may kick.")
	ada.Click(`[aria-label="Kick Linus"]`)
	linus.Until("kicked by the other kind of node", `() => document.querySelector("#status").textContent === "You were kicked by Ada."`)
	for _, p := range []*browsertest.Page{ada, grace} {
		p.UntilNotice("Linus left.")
		p.UntilMembers("Ada@"+one.Name, "Grace@"+two.Name)
	}
	grace.Click(`[aria-label="Leave lobby"]`)
	ada.UntilNotice("Grace left.")
	ada.UntilMembers("Ada@" + one.Name)
}
