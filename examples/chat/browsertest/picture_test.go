package browsertest_test

import (
	"bytes"
	"encoding/base64"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

var pictures = flag.String("pictures", "", "directory into which TestPicture writes chat-light.png and chat-dark.png")

// TestPicture makes the README's pictures from a real run: a few people who chat on a mixed fleet.
func TestPicture(t *testing.T) {
	fleet := browsertest.StartFleet(t, kinds...)
	browser := browsertest.StartBrowser(t)
	one, two, three := fleet.Nodes[0], fleet.Nodes[1], fleet.Nodes[2]

	ada := browser.Open(t, one, "Ada", "lobby", "release", "ops")
	grace := browser.Open(t, two, "Grace", "lobby", "release")
	linus := browser.Open(t, three, "Linus", "lobby", "ops")
	browser.Open(t, three, "Margaret", "lobby", "release")
	browser.Open(t, two, "Ken", "lobby")
	ada.UntilMembers("Ada@"+one.Name, "Grace@"+two.Name, "Ken@"+two.Name, "Linus@"+three.Name, "Margaret@"+three.Name)

	lines := []struct {
		page *browsertest.Page
		name string
		node *browsertest.Node
		text string
	}{
		{grace, "Grace", two, "Good morning! I am on " + two.Name + ". Who is where?"},
		{linus, "Linus", three, "Still on Node.js here, same Redis, same room. 👋"},
		{ada, "Ada", one, "I am on " + one.Name + ". Your messages take one hop, whichever way they go."},
	}
	for _, line := range lines {
		line.page.Say(line.text)
		ada.UntilSaid(line.name, line.node.Name, line.text)
	}
	drawing := drawSketch(t, ada)
	grace.Send(drawing, "The plan, as a picture. Binary goes through as it is.")
	ada.Until("the picture is there", `() => document.querySelector("#log img")?.complete`)
	linus.Click(room(2))
	linus.Say("Anybody in ops?")
	ada.Until("a message is unread", `() => document.querySelector(".unread")`)
	linus.Click(room(1))
	linus.Say("Grüße aus Helsinki – looks right to me.")
	ada.UntilSaid("Linus", three.Name, "Grüße aus Helsinki – looks right to me.")
	ada.Write("Then let us roll it out")
	for _, n := range fleet.Nodes {
		ada.UntilNode(n, "up")
	}
	ada.Until("all is counted", `() => document.querySelector("#totals").textContent === "3 nodes · 5 sockets · 3 rooms"`)

	for name, dark := range map[string]bool{"chat-light.png": false, "chat-dark.png": true} {
		picture := ada.Screenshot(dark)
		_, err := png.Decode(bytes.NewReader(picture))
		require.NoError(t, err)
		if *pictures == "" {
			continue
		}
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, name), picture, 0o644))
	}
}

// drawSketch makes a PNG file of the sketch, in a page.
func drawSketch(t *testing.T, page *browsertest.Page) (path string) {
	t.Helper()
	text := browsertest.Read[string](page, `async (svg) => {
		const image = new Image();
		image.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
		await image.decode();
		const canvas = document.createElement("canvas");
		[canvas.width, canvas.height] = [image.width, image.height];
		canvas.getContext("2d").drawImage(image, 0, 0);
		return canvas.toDataURL("image/png").split(",")[1];
	}`, sketch)
	data, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	path = filepath.Join(t.TempDir(), "fleet.png")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

const sketch = `<svg xmlns="http://www.w3.org/2000/svg" width="420" height="150" viewBox="0 0 420 150" font-family="sans-serif" font-size="15">
<rect width="420" height="150" fill="#fdfcf7"/>
<g fill="none" stroke="#334155" stroke-width="2"><path d="M70 70v35M210 70v35M350 70v35M40 108h340"/></g>
<g stroke="#334155" stroke-width="2"><rect x="20" y="24" width="100" height="46" rx="10" fill="#dbeafe"/><rect x="160" y="24" width="100" height="46" rx="10" fill="#d1fae5"/><rect x="300" y="24" width="100" height="46" rx="10" fill="#ffedd5"/></g>
<g text-anchor="middle" fill="#0f172a"><text x="70" y="52">Go</text><text x="210" y="52">Go</text><text x="350" y="52">Node.js</text><text x="210" y="134">one Redis, one fleet</text></g>
</svg>`
