package browsertest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/crossroom/crossroom/internal/servers"
)

// Browser is a running Chromium.
type Browser struct {
	ctx context.Context
}

// StartBrowser starts a Chromium with an empty profile. It ends with the test, and with the test's process if that is
// killed.
func StartBrowser(tb testing.TB) *Browser {
	tb.Helper()
	bin := servers.Binary(tb, "chromium")
	ctx, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(bin),
		chromedp.UserDataDir(tb.TempDir()),
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Headless,
		chromedp.NoSandbox, // containers often lack what it needs
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		// The test uses pages in turn; none may sleep in the background.
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	tb.Cleanup(stop)
	ctx, closeBrowser := chromedp.NewContext(ctx, chromedp.WithErrorf(func(format string, args ...any) {
		// Newer browsers send events that the library does not know.
		if text := fmt.Sprintf(format, args...); !strings.Contains(text, "could not unmarshal event") {
			fmt.Println("chromedp:", text)
		}
	}))
	tb.Cleanup(closeBrowser)
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("starting %s: %v", bin, err)
	}
	return &Browser{ctx: ctx}
}

// Tab opens an empty page of its own. An exception of its scripts fails the test.
func (b *Browser) Tab(tb testing.TB) *Page {
	tb.Helper()
	var mu sync.Mutex
	var thrown []string
	ctx, closeTab := chromedp.NewContext(b.ctx, chromedp.WithListener(func(event any) {
		if e, ok := event.(*runtime.EventExceptionThrown); ok {
			mu.Lock()
			defer mu.Unlock()
			thrown = append(thrown, fmt.Sprintf("%+v", e.ExceptionDetails))
		}
	}))
	p := &Page{tb: tb, ctx: ctx}
	tb.Cleanup(func() {
		if tb.Failed() {
			p.dump()
		}
		closeTab()
		mu.Lock()
		defer mu.Unlock()
		for _, text := range thrown {
			tb.Errorf("%s: the page threw %s", p.name, text)
		}
	})
	// The context of the first call belongs to the tab for its whole life.
	british := emulation.SetLocaleOverrideParams{Locale: "en-GB"}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1360, 860, chromedp.EmulateScale(1.5)), send(emulation.SetLocaleOverride, british)); err != nil {
		tb.Fatalf("opening a tab: %v", err)
	}
	return p
}

// Open opens the page of a node, as a user who joins rooms at once, and waits until the page is connected.
func (b *Browser) Open(tb testing.TB, n *Node, name string, rooms ...string) *Page {
	tb.Helper()
	p := b.Tab(tb)
	p.name = name
	p.Navigate(n.PageURL(name, rooms...))
	p.UntilConnected(n)
	return p
}
