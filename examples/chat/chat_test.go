package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

const patience = 10 * time.Second

// offered is the list of nodes that these tests offer to pages.
const offered = `[{"name":"go-1","url":"http://x","kind":"go"}]`

// startNodes starts nodes on one bus and returns their addresses and functions that stop them.
func startNodes(t *testing.T, names ...string) (at map[string]string, stop map[string]func()) {
	t.Helper()
	bus := memorybroker.NewBus(nil)
	at, stop = map[string]string{}, map[string]func(){}
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		at[name] = l.Addr().String()
		l.Close()
		end, err := start(t.Context(), bus.Broker(), name, at[name], offered)
		require.NoError(t, err)
		ended := false
		stop[name] = func() {
			if !ended {
				ended = true
				end()
			}
		}
		t.Cleanup(stop[name])
	}
	return at, stop
}

// person is a client that speaks the protocol by hand. Unexpected messages wait in events.
type person struct {
	*websocket.Conn
	t      *testing.T
	id     string
	next   int
	events []string
}

func connect(t *testing.T, at, auth string) (p *person, refused string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, "ws://"+at+"/socket.io/?EIO=4&transport=websocket", nil)
	require.NoError(t, err)
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(4 << 20)
	p = &person{Conn: ws, t: t}
	p.read() // the handshake
	p.write("40/chat," + auth)
	got := p.read()
	if text, is := strings.CutPrefix(got, "44/chat,"); is {
		return nil, text
	}
	var welcome struct{ SID string }
	text, _ := strings.CutPrefix(got, "40/chat,")
	require.NoError(t, json.Unmarshal([]byte(text), &welcome), got)
	p.id = welcome.SID
	return p, ""
}

// enter connects a client, and reads the name of its node.
func enter(t *testing.T, at, name, node string) *person {
	t.Helper()
	p, refused := connect(t, at, fmt.Sprintf(`{"name":%q}`, name))
	require.Empty(t, refused)
	p.expect(fmt.Sprintf(`42/chat,["node",{"name":%q}]`, node))
	return p
}

func (p *person) read() string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	_, b, err := p.Read(ctx)
	require.NoError(p.t, err, "reading")
	return string(b)
}

func (p *person) write(text string) {
	p.t.Helper()
	require.NoError(p.t, p.Write(p.t.Context(), websocket.MessageText, []byte(text)))
}

// ask sends an event and returns the acknowledgement.
func (p *person) ask(event, args string, attachments ...string) string {
	p.t.Helper()
	p.next++
	head := "42"
	if len(attachments) > 0 {
		head = fmt.Sprintf("45%d-", len(attachments))
	}
	p.write(fmt.Sprintf(`%s/chat,%d[%q%s]`, head, p.next, event, args))
	for _, a := range attachments {
		require.NoError(p.t, p.Write(p.t.Context(), websocket.MessageBinary, []byte(a)))
	}
	for {
		got := p.read()
		if answer, is := strings.CutPrefix(got, fmt.Sprintf("43/chat,%d[", p.next)); is {
			return strings.TrimSuffix(answer, "]")
		}
		p.events = append(p.events, got)
	}
}

// expect wants the next message that is no acknowledgement; "*" matches any text.
func (p *person) expect(want string) {
	p.t.Helper()
	if len(p.events) == 0 {
		p.events = append(p.events, p.read())
	}
	got := p.events[0]
	p.events = p.events[1:]
	if first, last, wild := strings.Cut(want, "*"); wild && strings.HasPrefix(got, first) && strings.HasSuffix(got, last) {
		return
	}
	require.Equal(p.t, want, got)
}

func (p *person) want(answer, want string) {
	p.t.Helper()
	require.Equal(p.t, want, answer)
}

func TestChat(t *testing.T) {
	at, _ := startNodes(t, "go-1", "go-2")
	ada := enter(t, at["go-1"], "ada", "go-1")
	adaSelf := self(t, ada.ask("join", `,"lobby"`), 0)
	assert.Contains(t, adaSelf, fmt.Sprintf(`{"id":%q,"name":"ada","node":"go-1","since":`, ada.id))

	bob := enter(t, at["go-2"], " bob ", "go-2")
	bobSelf := self(t, bob.ask("join", `,"lobby"`), 1)
	assert.Contains(t, bobSelf, fmt.Sprintf(`{"id":%q,"name":"bob","node":"go-2","since":`, bob.id))
	both := `{"members":[` + adaSelf + `,` + bobSelf + `],"missing":[],"ok":true}`
	bob.want(bob.ask("join", `,"lobby"`), both) // again: no client is notified
	ada.expect(`42/chat,["joined",{"member":` + bobSelf + `,"room":"lobby"}]`)
	ada.want(ada.ask("members", `,"lobby"`), both)

	// A text, then a file with a name, both to both of them.
	ada.want(ada.ask("say", `,{"room":"lobby","text":"héllo 😀"}`), `{"ok":true}`)
	for _, p := range []*person{ada, bob} {
		p.expect(`42/chat,["said",{"at":*,"from":` + adaSelf + `,"node":"go-1","room":"lobby","text":"héllo 😀"}]`)
	}
	bob.want(bob.ask("say", `,{"room":"lobby","file":{"_placeholder":true,"num":0},"fileName":"a.bin"}`, "\x00\xff"), `{"ok":true}`)
	for _, p := range []*person{ada, bob} {
		p.expect(`451-/chat,["said",{"at":*,"file":{"_placeholder":true,"num":0},"fileName":"a.bin","from":` + bobSelf + `,"node":"go-2","room":"lobby"}]`)
		p.expect("\x00\xff")
	}

	// Outside of the room a client neither receives nor sends messages.
	bob.want(bob.ask("leave", `,"lobby"`), `{"ok":true}`)
	ada.expect(`42/chat,["left",{"member":` + bobSelf + `,"room":"lobby"}]`)
	bob.want(bob.ask("say", `,{"room":"lobby","text":"?"}`), `{"error":"not in that room","ok":false}`)
	eve := enter(t, at["go-2"], "eve", "go-2")
	eve.ask("join", `,"lobby"`)
	ada.ask("say", `,{"room":"lobby","text":"without bob"}`)
	eve.expect(`42/chat,["said",*]`) // so bob's node has processed it
	bob.ask("join", `,"lobby"`)
	assert.Empty(t, bob.events, "bob received")
	ada.expect(`42/chat,["joined",*]`)
	ada.expect(`42/chat,["said",*]`)
	ada.expect(`42/chat,["joined",*]`)

	// One kicks the other, on another node; the members of the room are notified.
	ada.want(ada.ask("kick", `,{"id":"lobby","room":"lobby"}`), `{"error":"no such member","ok":false}`)
	ada.want(ada.ask("kick", `,{"id":"`+bob.id+`","room":"lobby"}`), `{"ok":true}`)
	for { // after what bob heard of eve
		if len(bob.events) == 0 {
			bob.events = append(bob.events, bob.read())
		}
		if bob.events[0] == `42/chat,["kicked",{"by":"ada"}]` {
			break
		}
		bob.events = bob.events[1:]
	}
	bob.expect(`42/chat,["kicked",{"by":"ada"}]`)
	bob.expect("41/chat,")
	ada.expect(`42/chat,["left",{"member":` + bobSelf + `,"room":"lobby"}]`)
	ada.want(ada.ask("kick", `,{"id":"`+bob.id+`","room":"lobby"}`), `{"error":"no such member","ok":false}`)
}

// self returns a member of a list, as text.
func self(t *testing.T, answer string, n int) string {
	t.Helper()
	var list struct{ Members []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(answer), &list), answer)
	require.Len(t, list.Members, n+1, answer)
	return string(list.Members[n])
}

// What a user may not do: kick as another one than the room's first member or outside of the room, hear what is for
// another socket, see who is in a room or that there is one, and send without limit.
func TestCareless(t *testing.T) {
	at, _ := startNodes(t, "go-1", "go-2")
	ada, bob, eve := enter(t, at["go-1"], "ada", "go-1"), enter(t, at["go-2"], "bob", "go-2"), enter(t, at["go-2"], "eve", "go-2")
	for _, p := range []*person{ada, bob} {
		p.ask("join", `,"secret plans"`)
	}
	const notIn = `{"error":"not in that room","ok":false}`
	eve.want(eve.ask("kick", `,{"id":"`+ada.id+`","room":"secret plans"}`), notIn)
	eve.want(eve.ask("members", `,"secret plans"`), notIn)
	list := bob.ask("members", `,"secret plans"`)
	first, second := ada, bob
	if strings.Index(list, bob.id) < strings.Index(list, ada.id) { // connected in the same millisecond
		first, second = bob, ada
	}
	second.want(second.ask("kick", `,{"id":"`+first.id+`","room":"secret plans"}`), `{"error":"only the room's first member may kick","ok":false}`)
	assert.NotContains(t, eve.ask("fleet", ""), "secret")
	assert.Contains(t, bob.ask("fleet", ""), "secret plans")

	eve.ask("join", `,"`+second.id+`"`) // a room like any other
	eve.ask("join", `,"attic"`)
	eve.want(eve.ask("kick", `,{"id":"`+ada.id+`","room":"attic"}`), `{"error":"no such member","ok":false}`)
	first.want(first.ask("kick", `,{"id":"`+second.id+`","room":"secret plans"}`), `{"ok":true}`)
	for !slices.ContainsFunc(second.events, func(text string) bool { return strings.Contains(text, `"kicked"`) }) {
		second.events = append(second.events, second.read())
	}
	eve.ask("members", `,"attic"`)
	for _, heard := range eve.events {
		assert.NotContains(t, heard, "kicked")
	}

	for i := range 100 {
		eve.ask("join", fmt.Sprintf(`,"room %d"`, i))
	}
	answer := eve.ask("join", `,"one more"`)
	assert.Contains(t, answer, `"ok":false`)
	var err error
	for i := 0; i < 1_000_000 && err == nil; i++ {
		err = eve.Write(t.Context(), websocket.MessageText, []byte(`42/chat,["say",{"room":"attic","text":"x"}]`))
	}
	require.Error(t, err, "a flood")
	first.want(first.ask("leave", `,"nothing"`), `{"ok":true}`) // the others stay
}

// A bad event gets an error, and changes nothing.
func TestBadEvents(t *testing.T) {
	at, _ := startNodes(t, "go-1")
	for _, auth := range []string{"", "{}", `{"name":""}`, `{"name":"  "}`, `{"name":7}`, `{"name":["x"]}`} {
		_, refused := connect(t, at["go-1"], auth)
		assert.Equal(t, `{"message":"name required"}`, refused, auth)
	}
	ada := enter(t, at["go-1"], "ada", "go-1")
	for _, event := range []string{"join", "members", "say", "kick"} {
		for _, args := range []string{"", `,""`, ",null", ",7", ",[]", ",{}", `,{"room":7,"id":7}`, `,{"room":{},"id":{}}`} {
			answer := ada.ask(event, args)
			assert.True(t, strings.HasSuffix(answer, `,"ok":false}`), "%s%s: %s", event, args, answer)
		}
	}
	answer := ada.ask("join", fmt.Sprintf(",%q", strings.Repeat("x", 5000)))
	assert.True(t, strings.HasSuffix(answer, `,"ok":false}`), "a name that is too long: %s", answer)
	ada.write(`42/chat,["join","lobby"]`) // without an acknowledgement
	assert.Contains(t, ada.ask("members", `,"lobby"`), ada.id)
}

// A node that stops is missing, and its users are no longer listed. After a while the node is no longer listed either.
func TestFleet(t *testing.T) {
	at, stop := startNodes(t, "go-1", "go-2")
	ada := enter(t, at["go-1"], "ada", "go-1")
	bob := enter(t, at["go-2"], "bob", "go-2")
	ada.ask("join", `,"lobby"`)
	bob.ask("join", `,"garden"`)
	look := func() (names []string, nodes []stats, missing []string) {
		var r struct {
			OK      bool
			Nodes   []stats
			Missing []string
		}
		require.NoError(t, json.Unmarshal([]byte(ada.ask("fleet", "")), &r), "%+v", r)
		require.True(t, r.OK, "%+v", r)
		require.NotNil(t, r.Missing, "%+v", r)
		for _, n := range r.Nodes {
			names = append(names, n.Name)
		}
		return names, r.Nodes, r.Missing
	}
	names, nodes, missing := look()
	require.Equal(t, []string{"go-1", "go-2"}, names)
	require.Empty(t, missing)
	for i, rooms := range [][]string{{"lobby"}, {}} { // ada is not in the garden
		n := nodes[i]
		assert.Equal(t, "go", n.Kind)
		assert.Equal(t, 1, n.Sockets)
		assert.Equal(t, rooms, n.Rooms)
		assert.NotZero(t, n.Since)
	}
	stop["go-2"]()
	names, _, missing = look()
	assert.Equal(t, []string{"go-1"}, names)
	assert.Equal(t, []string{"go-2"}, missing)
}

func TestFiles(t *testing.T) {
	at, _ := startNodes(t, "go-1")
	for path, want := range map[string]string{"/": "<!doctype html>", "/vendor/socket.io.min.js": "Socket.IO", "/nodes.json": offered} {
		res, err := http.Get("http://" + at["go-1"] + path)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		assert.Contains(t, res.Header.Get("Content-Security-Policy"), "script-src 'self';", path)
		assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"), path)
		if assert.NoError(t, err, path) {
			assert.Equal(t, 200, res.StatusCode, path)
			assert.Contains(t, strings.ToLower(string(body)), strings.ToLower(want), path)
		}
	}
}

// The server is meant to be read: 300 lines, including comments and blank lines.
func TestLength(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	total := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		total += strings.Count(string(text), "\n")
	}
	t.Logf("%d lines in %s", total, files)
	assert.GreaterOrEqual(t, len(files), 3, "lines in %s", files)
	assert.LessOrEqual(t, total, 300, "lines in %s", files)
}
