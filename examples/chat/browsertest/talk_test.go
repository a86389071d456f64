package browsertest_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

// Characters of one to four bytes, combining ones, both directions, a zero-width
// joiner, quotes and markup.
const unicode = "Grüße, κόσμε, עולם, 世界 – e\u0301 👩‍👩‍👧 \u2028 <b>&amp;</b> \"'`\\ 𝔘𝔫𝔦"

// Two pages on different nodes talk, see each other, and one kicks the other.
func TestTalk(t *testing.T) {
	fleet := browsertest.StartFleet(t, kinds...)
	browser := browsertest.StartBrowser(t)
	node := byName(fleet)
	for _, pair := range pairs {
		t.Run(pair[0]+" with "+pair[1], func(t *testing.T) {
			a, b := node[pair[0]], node[pair[1]]
			room := "room of " + t.Name()
			ada := browser.Open(t, a, "ada", room)
			bob := browser.Open(t, b, "bob", room)

			ada.UntilMembers("ada@"+a.Name, "bob@"+b.Name)
			bob.UntilMembers("ada@"+a.Name, "bob@"+b.Name)
			ada.UntilNotice("bob joined on " + b.Name)

			ada.Say("hello from over here")
			ada.UntilSaid("ada", a.Name, "hello from over here")
			bob.UntilSaid("ada", a.Name, "hello from over here")
			bob.Say(unicode)
			ada.UntilSaid("bob", b.Name, unicode)
			bob.UntilSaid("bob", b.Name, unicode)

			binary(t, ada, bob)

			ada.Click(`[aria-label="Kick bob"]`)
			bob.Until("bob is told", `() => document.querySelector("#status").textContent === "You were kicked by ada."`)
			ada.UntilMembers("ada@" + a.Name)
			ada.UntilNotice("bob left")
			ada.Until("one socket is left", `() => document.querySelector("#totals").textContent.includes("· 1 socket ")`)

			// A message to a disconnected user is lost. The message after the reconnect takes the same route, and is
			// the first that bob sees again.
			ada.Say("unheard")
			ada.UntilSaid("ada", a.Name, "unheard")
			bob.Click("#connect")
			bob.UntilConnected(b)
			ada.UntilMembers("ada@"+a.Name, "bob@"+b.Name)
			ada.Say("welcome back")
			bob.UntilSaid("ada", a.Name, "welcome back")
			assert.Zero(t, browsertest.Read[int](bob, `() => [...document.querySelectorAll(".text")].filter((t) => t.textContent === "unheard").length`), "bob heard what was said while he was out")
		})
	}
}

// binary sends a file with every byte value, larger than any buffer on its route, from one page to another and
// compares it.
func binary(t *testing.T, from, to *browsertest.Page) {
	t.Helper()
	data := make([]byte, 300_000)
	rand.Read(data)
	for i := range 256 {
		data[i] = byte(i)
	}
	path := filepath.Join(t.TempDir(), "päckchen.bin")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	sum := sha256.Sum256(data)
	want := hex.EncodeToString(sum[:])
	from.Send(path, "a file")
	for _, page := range []*browsertest.Page{from, to} {
		page.Until("the file is there", `() => document.querySelector("[data-file='päckchen.bin']")`)
		got := browsertest.Read[string](page, `async () => {
			const file = await (await fetch(document.querySelector("[data-file='päckchen.bin']").href)).arrayBuffer();
			return [...new Uint8Array(await crypto.subtle.digest("SHA-256", file))].map((b) => b.toString(16).padStart(2, "0")).join("");
		}`)
		assert.Equal(t, want, got, "the file that arrived is another one: SHA-256")
	}
}

// A file that could have scripts is offered for saving only, and scripts that are not the page's own do not run.
func TestHostileFile(t *testing.T) {
	fleet := browsertest.StartFleet(t, kinds...)
	browser := browsertest.StartBrowser(t)
	path := filepath.Join(t.TempDir(), "picture.svg")
	require.NoError(t, os.WriteFile(path, []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>document.title = "taken"</script></svg>`), 0o600))
	for _, n := range fleet.Nodes {
		ada := browser.Open(t, n, "ada", "room of "+n.Name)
		ada.Send(path, "look")
		ada.Until("the file is there", `() => document.querySelector("[data-file='picture.svg']")`)
		kind := browsertest.Read[string](ada, `async () => (await (await fetch(document.querySelector("[data-file='picture.svg']").href)).blob()).type`)
		assert.Equal(t, "application/octet-stream", kind, n.Name)
		ran := browsertest.Read[bool](ada, `() => {
			const script = document.createElement("script");
			script.textContent = "window.taken = true";
			document.body.append(script);
			return window.taken === true;
		}`)
		assert.False(t, ran, "an inline script ran on the page of %s", n.Name)
	}
}

// A name is required, and the page shows the server's message.
func TestRefused(t *testing.T) {
	fleet := browsertest.StartFleet(t, kinds...)
	browser := browsertest.StartBrowser(t)
	for _, n := range fleet.Nodes {
		page := browser.Tab(t)
		page.Navigate(n.URL())
		page.Until("the page is there", `() => document.querySelectorAll("#node option").length > 0`)
		page.Until("its own node is chosen", `(name) => document.querySelector("#node").value === name`, n.Name)
		// The page itself requires a name; the server refuses a client that bypasses the page.
		browsertest.Read[bool](page, `() => { const name = document.querySelector("#name"); name.value = "x"; name.value = "\u00a0".repeat(2); return true }`)
		reason := browsertest.Read[string](page, `(url) => new Promise((done) => {
			const socket = io(url + "/chat", { transports: ["websocket"], forceNew: true, auth: { name: "" } });
			socket.on("connect_error", (err) => { socket.close(); done(err.message); });
		})`, n.URL())
		assert.Equal(t, "name required", reason, "%s: refused", n.Name)
	}
}
