package main

import (
	"bytes"
	"context"
	"flag"
	"image/png"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/examples/chat/browsertest"
	"github.com/crossroom/crossroom/hub"
)

var pictures = flag.String("pictures", "", "directory into which TestPrices writes sse.png")

// TestPrices has a browser follow prices that another server sends, through the restart of its server.
func TestPrices(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, len(regexp.MustCompile(`(?m)\S.*$`).FindAll(source, -1)), 100, "lines of main.go that are not empty")
	browser := browsertest.StartBrowser(t)
	ctx := t.Context()
	bus, store := memorybroker.NewBus(nil), &history{}
	start := func(at string) (prices *hub.Hub, address string, stop func()) {
		b := bus.Broker()
		prices, handler := newServer(ctx, b, store)
		listener, err := net.Listen("tcp", at)
		require.NoError(t, err)
		web := &http.Server{Handler: handler}
		go web.Serve(listener)
		return prices, listener.Addr().String(), func() {
			ctx := context.Background()
			assert.NoError(t, prices.Close(ctx))
			assert.NoError(t, web.Close())
			assert.NoError(t, prices.Namespace().Node().Close(ctx))
			assert.NoError(t, b.Close(ctx))
		}
	}
	sender, _, stop := start("localhost:0")
	defer stop()
	_, address, stop := start("localhost:0")
	page := browser.Tab(t)
	page.Navigate("http://" + address)
	page.Until("connected", `() => state.textContent.startsWith("connected")`)
	sent := 0
	send := func(n int) {
		for range n {
			require.NoError(t, publish(ctx, sender, store, 320+25*math.Sin(float64(sent)/7)+8*math.Sin(float64(sent)/2)))
			sent++
		}
	}
	seen := func(gaps int) {
		t.Helper()
		page.Until("all prices", `(n, gaps) => +count.textContent === n && +document.querySelector("#gaps").textContent === gaps`, sent, gaps)
	}
	send(60)
	seen(0)
	stop()
	page.Until("disconnected", `() => state.textContent === "reconnecting"`)
	send(20) // missed, and replayed
	_, _, stop = start(address)
	seen(0)
	send(10)
	seen(0)
	picture := page.Screenshot(false)
	_, err = png.Decode(bytes.NewReader(picture))
	require.NoError(t, err)
	if *pictures != "" {
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, "sse.png"), picture, 0o644))
	}
	// The history forgets the last price of the browser: it is told so.
	stop()
	page.Until("disconnected", `() => state.textContent === "reconnecting"`)
	store.mu.Lock()
	store.list = nil
	store.mu.Unlock()
	send(5)
	_, _, stop = start(address)
	defer stop()
	seen(1)
}
