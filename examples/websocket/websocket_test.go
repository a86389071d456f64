package main

import (
	"bytes"
	"context"
	"flag"
	"image/png"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

var pictures = flag.String("pictures", "", "directory into which TestChat writes websocket.png")

// TestChat has browsers chat on two servers.
func TestChat(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, len(regexp.MustCompile(`(?m)\S.*$`).FindAll(source, -1)), 100, "lines of main.go that are not empty")
	browser := browsertest.StartBrowser(t)
	bus := memorybroker.NewBus(nil)
	var urls []string
	for range 2 {
		b := bus.Broker()
		chat, handler := newServer(t.Context(), b)
		web := httptest.NewServer(handler)
		t.Cleanup(func() {
			ctx := context.Background()
			assert.NoError(t, chat.Close(ctx))
			web.Close()
			assert.NoError(t, chat.Namespace().Node().Close(ctx))
			assert.NoError(t, b.Close(ctx))
		})
		urls = append(urls, web.URL)
	}
	pages := map[string]*browsertest.Page{}
	for i, name := range []string{"Ada", "Grace", "Linus", "Eve"} {
		p := browser.Tab(t)
		p.Navigate(urls[i%2] + "/?name=" + name)
		p.Until("connected", `(name) => state.textContent.startsWith(name + " on ")`, name)
		pages[name] = p
	}
	ada := pages["Ada"]
	names := `(...names) => [...users.children].map(li => li.firstChild.textContent).join() === names.join()`
	ada.Until("all are here", names, "Ada", "Eve", "Grace", "Linus")
	for _, line := range [][2]string{
		{"Grace", "Good morning! I am on the other server."}, {"Eve", "Buy cheap watches! <script>alert(1)</script>"},
		{"Linus", "Plain WebSockets, one room. Grüße aus Helsinki 👋"}, {"Ada", "A message takes one hop, whichever way it goes."},
	} {
		pages[line[0]].Say(line[1])
		for _, p := range pages {
			p.Until("it is there", `(from, text) => log.lastChild?.firstChild.textContent === from && log.lastChild.lastChild.textContent === text`, line[0], line[1])
		}
	}
	ada.Click("#users li:nth-child(2) button")
	pages["Eve"].Until("kicked", `() => state.textContent === "kicked by Ada" && chat.readyState === 3`)
	ada.Until("Eve has left", names, "Ada", "Grace", "Linus")
	picture := ada.Screenshot(false)
	_, err = png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	if *pictures != "" {
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, "websocket.png"), picture, 0o644))
	}
}
