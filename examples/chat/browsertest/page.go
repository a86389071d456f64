package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience limits each wait for the page, on a busy machine.
const patience = 40 * time.Second

// Page is one tab with the chat. Its methods fail the test instead of returning errors, so call them on the test's
// goroutine.
type Page struct {
	tb   testing.TB
	ctx  context.Context
	name string // of its user, for the test's log
}

func (p *Page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.tb.Fatalf("%s: %s: %v", p.name, what, err)
	}
}

// Navigate loads an address.
func (p *Page) Navigate(url string) {
	p.tb.Helper()
	p.do("loading "+url, chromedp.Navigate(url))
}

// call returns an expression that calls a JavaScript function with arguments.
func call(function string, args []any) string {
	var list []string
	for _, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			panic(err) // a test's own constants
		}
		list = append(list, string(text))
	}
	return fmt.Sprintf("(%s)(%s)", function, strings.Join(list, ", "))
}

// Read calls a JavaScript function in the page and returns its result; it may be a
// promise.
func Read[T any](p *Page, function string, args ...any) T {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](call(function, args), chromedp.EvalAwaitPromise))
	if err != nil {
		p.tb.Fatalf("%s: %s: %v", p.name, call(function, args), err)
	}
	return value
}

// Until waits until a JavaScript function returns a true value.
func (p *Page) Until(what, function string, args ...any) {
	p.tb.Helper()
	p.do("waiting until "+what, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Poll[bool]("!!"+call(function, args), chromedp.WithPollingInterval(30*time.Millisecond),
			chromedp.WithPollingTimeout(patience-time.Second))(ctx, t)
		return chromedp.Void{}, err
	})
}

// UntilConnected waits until the page is connected to a node, or, without one, to any.
func (p *Page) UntilConnected(n *Node) {
	p.tb.Helper()
	name := ""
	if n != nil {
		name = n.Name
	}
	p.Until("connected to "+name, `(name) => document.body.dataset.state === "connected"
		&& (name === "" || document.querySelector("#status .badge").textContent === name)`, name)
}

// Node returns the name of the page's node.
func (p *Page) Node() string {
	p.tb.Helper()
	return Read[string](p, `() => document.querySelector("#status .badge").textContent`)
}

// Write puts text into the message box as an input method would, without keys.
func (p *Page) Write(text string) {
	p.tb.Helper()
	p.do("writing", chromedp.Focus(chromedp.CSS("#text")), send(input.InsertText, input.InsertTextParams{Text: text}))
}

// Say sends a message to the room on the screen.
func (p *Page) Say(text string) {
	p.tb.Helper()
	p.Write(text)
	p.Keys("\r")
}

// Send sends a file from the local disk, and a text if it is not empty.
func (p *Page) Send(path, text string) {
	p.tb.Helper()
	p.do("choosing a file", chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{path}))
	p.Until("the file is chosen", `() => !document.querySelector("#chosen").hidden`)
	p.Say(text)
}

// Keys presses keys, wherever the focus is. Like on a keyboard, a key's text comes with its keydown event, so that a
// page that prevents that event gets no text.
func (p *Page) Keys(keys string) {
	p.tb.Helper()
	for _, key := range keys {
		events := kb.Encode(key)
		down, up := *events[0], *events[len(events)-1]
		if len(events) == 3 {
			down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
		}
		p.do(fmt.Sprintf("key %q", key), send(input.DispatchKeyEvent, down), send(input.DispatchKeyEvent, up))
	}
}

// send is an action that sends one command.
func send[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, cmd, params)
		return chromedp.Void{}, err
	}
}

// Click clicks on the first element that a CSS selector finds.
func (p *Page) Click(css string) {
	p.tb.Helper()
	// Lists are drawn again each second, so find and click in one go.
	p.Until("there is "+css, `(css) => document.querySelector(css)`, css)
	Read[bool](p, `(css) => { document.querySelector(css).click(); return true }`, css)
}

// UntilSaid waits for a message in the room on the screen.
func (p *Page) UntilSaid(from, node, text string) {
	p.tb.Helper()
	p.Until(fmt.Sprintf("%s says %.40q on %s", from, text, node), `(from, node, text) => [...document.querySelectorAll("#log .message")].some((m) =>
		m.dataset.from === from && m.dataset.node === node && m.querySelector(".text")?.textContent === text)`, from, node, text)
}

// UntilMembers waits until exactly these are listed as members of the room on the
// screen: "name@node", in any order.
func (p *Page) UntilMembers(members ...string) {
	p.tb.Helper()
	p.Until(fmt.Sprint("the members are ", members), `(...members) => {
		const listed = [...document.querySelectorAll("#members .member")].map((m) => m.dataset.name + "@" + m.closest("[data-node]").dataset.node);
		return listed.sort().join() === members.sort().join();
	}`, anys(members)...)
}

// UntilNode waits until the fleet panel shows a node in a state: up, missing or gone.
func (p *Page) UntilNode(n *Node, state string) {
	p.tb.Helper()
	p.Until(n.Name+" is "+state, `(name, state) => document.querySelector("#fleet [data-node='" + name + "']")?.dataset.state === state`, n.Name, state)
}

// UntilNotice waits for a notice in the room on the screen.
func (p *Page) UntilNotice(text string) {
	p.tb.Helper()
	p.Until("the page says "+text, `(text) => [...document.querySelectorAll("#log .notice")].some((n) => n.textContent.includes(text))`, text)
}

// Rooms returns the rooms that the page is in.
func (p *Page) Rooms() []string {
	p.tb.Helper()
	return Read[[]string](p, `() => [...document.querySelectorAll("#rooms .room span:first-child")].map((r) => r.textContent)`)
}

// Screenshot returns a PNG of the screen, in dark or light colours.
func (p *Page) Screenshot(dark bool) []byte {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if err := chromedp.Do(ctx, send(emulation.SetEmulatedMedia, media)); err != nil {
		p.tb.Fatal(err)
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.tb.Fatal(err)
	}
	return png
}

// dump logs the screen of a failed test.
func (p *Page) dump() {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.location + "\n" + document.body.innerText`))
	p.tb.Logf("page of %s: %s %v", p.name, text, err)
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}
