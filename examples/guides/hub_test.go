package guides_test

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/examples/chat/browsertest"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/hub/coderws"
	"github.com/crossroom/crossroom/internal/child"
	"github.com/crossroom/crossroom/internal/servers"
	"github.com/crossroom/crossroom/presence"
)

// stop lets the clients go, 500 in a second, then leaves the fleet.
func stop(h *hub.Hub, web *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node := h.Namespace().Node()
	return errors.Join(h.Drain(ctx, 500), h.Close(ctx), web.Shutdown(ctx), node.Close(ctx), node.Broker().Close(ctx))
}

// ready tells the load balancer whether to send clients.
func ready(h *hub.Hub) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.Namespace().Node().Health().Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
}

// deal shows the targets of messages.
func deal(ctx context.Context, h *hub.Hub) error {
	return errors.Join(
		h.SendJSON(ctx, hub.Room("table 7"), "the cards are dealt"),
		h.SendJSON(ctx, hub.User("ada"), "your hand"), // on each of her devices
		h.Send(ctx, hub.Room("table 7").Except(hub.User("ada")), hub.Text("ada thinks")),
		h.Send(ctx, hub.Everyone().Volatile(), hub.Binary([]byte{7})), // dropped first for slow clients
	)
}

// clear lists who is at a table, then closes the connections of a user, on every server.
func clear(ctx context.Context, h *hub.Hub, cheat string) ([]hub.Info, error) {
	who, err := h.Connections(ctx, hub.Room("table 7"))
	if err != nil {
		return who, err // a *backplane.PartialError has the list of the servers that responded
	}
	_, err = h.Kick(ctx, hub.User(cheat), 4001, "cheating")
	return who, err
}

// order waits until all devices of a user have acknowledged a message. Their OnMessage calls
// Conn.Ack with the id.
func order(ctx context.Context, h *hub.Hub, user, id string) (devices int, err error) {
	acks, err := h.SendAck(ctx, hub.User(user), id, hub.Text(`{"order":"`+id+`"}`), 5*time.Second)
	return len(acks), err
}

// newLounge makes a hub, and a presence that knows the users of its room on all servers.
func newLounge(ctx context.Context, node *backplane.Node) (*hub.Hub, *presence.Presence, error) {
	online, err := presence.New(ctx, node, nil)
	if err != nil {
		return nil, nil, err
	}
	h, err := hub.New(ctx, node, "lounge", &hub.Options{
		Authenticate: func(r *http.Request) (hub.Identity, error) {
			return hub.Identity{User: r.FormValue("name"), Rooms: []string{"lounge"}}, nil
		},
		OnConnect: func(_ context.Context, c *hub.Conn) error {
			return online.Join("lounge", presence.Member{ID: c.ID(), User: c.User()})
		},
		OnDisconnect: func(c *hub.Conn, _ *hub.CloseError) { online.Remove(c.ID()) },
	})
	return h, online, err
}

// showLounge sends the users of the room to its clients on this server, after each change, until ctx ends.
func showLounge(ctx context.Context, h *hub.Hub, online *presence.Presence) {
	for range online.Watch(ctx, "lounge") {
		names := []string{}
		for _, user := range online.Room("lounge").Users() {
			names = append(names, user.ID)
		}
		h.SendJSON(ctx, hub.Room("lounge").Local(), names) // each server tells its own clients
	}
}

// resume returns the messages that a client missed, from a history that the application keeps.
func resume(_ context.Context, _ *hub.Conn, last string) ([]hub.Message, error) {
	for i, m := range history {
		if m.ID == last {
			return history[i+1:], nil
		}
	}
	return nil, hub.ErrGap // the page gets an event "gap", and loads its state anew
}

var history = []hub.Message{{ID: "1", Data: []byte("one")}, {ID: "2", Data: []byte("two")}}

// TestHubGuide runs the functions of the guide.
func TestHubGuide(t *testing.T) {
	ctx := t.Context()
	node, err := backplane.New(memorybroker.NewBus(nil).Broker(), nil)
	require.NoError(t, err)
	h, err := hub.New(ctx, node, "game", &hub.Options{
		Authenticate: func(r *http.Request) (hub.Identity, error) {
			return hub.Identity{User: r.FormValue("user"), Rooms: []string{"table 7"}}, nil
		},
		OnConnect: func(_ context.Context, c *hub.Conn) error { return c.Send(hub.Text("welcome")) },
		OnMessage: func(_ context.Context, c *hub.Conn, m hub.Message) error { c.Ack(string(m.Data), nil); return nil },
		Resume:    resume,
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/ws", coderws.Handler(h, nil))
	mux.Handle("/events", h.SSE())
	web := httptest.NewServer(mux)
	conns := map[string]*websocket.Conn{}
	for _, user := range []string{"ada", "bob"} {
		conn, _, err := websocket.Dial(ctx, web.URL+"/ws?user="+user, nil)
		require.NoError(t, err)
		defer conn.CloseNow()
		assert.Equal(t, "welcome", read(ctx, conn))
		conns[user] = conn
	}
	require.NoError(t, deal(ctx, h))
	for user, want := range map[string][]string{
		"ada": {`"the cards are dealt"`, `"your hand"`, "\x07"},
		"bob": {`"the cards are dealt"`, "ada thinks", "\x07"},
	} {
		for _, text := range want {
			assert.Equal(t, text, read(ctx, conns[user]), user)
		}
	}
	go func() {
		read(ctx, conns["ada"])
		conns["ada"].Write(ctx, websocket.MessageText, []byte("17"))
	}()
	devices, err := order(ctx, h, "ada", "17")
	require.NoError(t, err)
	assert.Equal(t, 1, devices)
	who, err := clear(ctx, h, "bob")
	require.NoError(t, err)
	assert.Len(t, who, 2)
	_, _, err = conns["bob"].Read(ctx)
	assert.Equal(t, websocket.StatusCode(4001), websocket.CloseStatus(err))

	for last, want := range map[string]string{"1": "data: two", "0": "event: gap"} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, web.URL+"/events", nil)
		require.NoError(t, err)
		r.Header.Set("Last-Event-ID", last)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() && lines.Text() != want {
			require.NotContains(t, lines.Text(), "welcome", "no line %q", want)
		}
		res.Body.Close()
	}
	go conns["ada"].Read(ctx) // answers the close frame
	require.NoError(t, stop(h, web.Config))
}

// TestHubPresence: clients of two servers see who is in a room, until the last connection of a user has ended.
func TestHubPresence(t *testing.T) {
	ctx, bus := t.Context(), memorybroker.NewBus(nil)
	var urls []string
	for range 2 {
		b := bus.Broker()
		node, err := backplane.New(b, nil)
		require.NoError(t, err)
		h, online, err := newLounge(ctx, node)
		require.NoError(t, err)
		watch, end := context.WithCancel(ctx)
		go showLounge(watch, h, online)
		web := httptest.NewServer(coderws.Handler(h, nil))
		urls = append(urls, web.URL)
		t.Cleanup(func() {
			end()
			ctx := context.Background()
			assert.NoError(t, errors.Join(h.Close(ctx), online.Close(ctx), node.Close(ctx), b.Close(ctx)))
			web.Close()
		})
	}
	connect := func(server int, name string) (*websocket.Conn, func(want string)) {
		conn, _, err := websocket.Dial(ctx, urls[server]+"?name="+name, nil)
		require.NoError(t, err)
		t.Cleanup(func() { conn.CloseNow() })
		return conn, func(want string) {
			t.Helper()
			seen := ""
			for seen != want {
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				_, m, err := conn.Read(ctx)
				require.NoError(t, err, "the last list is %s", seen)
				seen = string(m)
			}
		}
	}
	_, ada := connect(0, "ada")
	ada(`["ada"]`)
	bob1, _ := connect(1, "bob")
	ada(`["ada","bob"]`)
	bob2, bob := connect(0, "bob")
	bob(`["ada","bob"]`)
	bob1.CloseNow()
	_, eve := connect(1, "eve")
	ada(`["ada","bob","eve"]`) // bob has another tab
	eve(`["ada","bob","eve"]`)
	bob2.Close(websocket.StatusNormalClosure, "")
	ada(`["ada","eve"]`)
	eve(`["ada","eve"]`)
}

// TestHubRollingRestart replaces both servers of a fleet, one after the other. A load balancer asks whether they are ready.
func TestHubRollingRestart(t *testing.T) {
	ctx, bus := t.Context(), memorybroker.NewBus(nil)
	type server struct {
		hub *hub.Hub
		web *httptest.Server
	}
	start := func() server {
		node, err := backplane.New(bus.Broker(), nil)
		require.NoError(t, err)
		h, err := hub.New(ctx, node, "chat", &hub.Options{OnConnect: func(_ context.Context, c *hub.Conn) error { return c.Send(hub.Text("welcome")) }})
		require.NoError(t, err)
		mux := http.NewServeMux()
		mux.Handle("/ws", coderws.Handler(h, nil))
		mux.Handle("/readyz", ready(h))
		return server{h, httptest.NewServer(mux)}
	}
	var mu sync.Mutex
	fleet := []server{start(), start()}
	pick := func() string { // a load balancer
		mu.Lock()
		defer mu.Unlock()
		for _, i := range rand.Perm(len(fleet)) {
			res, err := http.Get(fleet[i].web.URL + "/readyz")
			if err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK {
				return fleet[i].web.URL
			}
		}
		return ""
	}
	const clients = 40
	var codes sync.Map // of all ends of connections
	heard := make(chan string, 2*clients)
	var all sync.WaitGroup
	clientCtx, leave := context.WithCancel(ctx)
	for range clients {
		all.Go(func() {
			for clientCtx.Err() == nil {
				conn, _, err := websocket.Dial(clientCtx, pick()+"/ws", nil)
				if err != nil {
					continue // a server that drains refused it, after the load balancer had asked it
				}
				for err == nil {
					var m []byte
					if _, m, err = conn.Read(clientCtx); err == nil && string(m) != "welcome" {
						heard <- string(m)
					}
				}
				if clientCtx.Err() == nil {
					codes.Store(websocket.CloseStatus(err), true)
				}
				conn.CloseNow()
			}
		})
	}
	connected := func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, s := range fleet {
			n += s.hub.Stats().Sockets
		}
		return n == clients
	}
	require.Eventually(t, connected, 30*time.Second, 5*time.Millisecond)
	for i := range 2 {
		next := start()
		require.NoError(t, next.hub.Namespace().Node().Ready(ctx))
		mu.Lock()
		old := fleet[i]
		fleet = append(fleet, next)
		mu.Unlock()
		require.NoError(t, stop(old.hub, old.web.Config))
		assert.Zero(t, old.hub.Stats().Sockets)
	}
	mu.Lock()
	fleet = fleet[2:]
	mu.Unlock()
	require.Eventually(t, connected, 30*time.Second, 5*time.Millisecond)
	codes.Range(func(code, _ any) bool {
		return assert.Equal(t, websocket.StatusServiceRestart, code, "the end of a connection")
	})
	require.NoError(t, fleet[0].hub.Send(ctx, hub.Everyone(), hub.Text("after")))
	for range clients {
		assert.Equal(t, "after", <-heard)
	}
	leave()
	all.Wait()
	assert.Empty(t, heard, "each client got it once")
	for _, s := range fleet {
		require.NoError(t, stop(s.hub, s.web.Config))
	}
}

// TestHubProgram builds the program of the guide, and runs it alone and as two processes on Redis, with its page in a
// browser.
func TestHubProgram(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/hub.md")
	require.NoError(t, err)
	program := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindSubmatch(guide)
	page := regexp.MustCompile("(?s)```html\n(.*?)```").FindSubmatch(guide)
	require.NotNil(t, program)
	require.NotNil(t, page)
	code := 0
	for line := range strings.Lines(string(program[1])) {
		if strings.TrimSpace(line) != "" {
			code++
		}
	}
	assert.LessOrEqual(t, code, 40, "lines of the program that are not empty")
	assert.LessOrEqual(t, strings.Count(string(page[1]), "\n"), 20, "lines of the page")

	dir, err := os.MkdirTemp(".", "hub-guide-") // in this module
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), program[1], 0o644))
	work := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(work, "index.html"), page[1], 0o644))
	binary := filepath.Join(work, "chat")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "./"+dir).CombinedOutput()
	require.NoError(t, err, string(out))

	start := func(t *testing.T, broker string) string {
		port := servers.FreePort(t)
		url := "http://localhost:" + strconv.Itoa(port)
		script := `cd "$1" && BROKER="$2" PORT="$3" exec ./chat`
		servers.StartProgram(t, "chat", servers.Binary(t, "sh"), []string{"-c", script, "sh", work, broker, strconv.Itoa(port)}, port, child.Serves(url+"/"))
		return url
	}
	browser := browsertest.StartBrowser(t)
	talk := func(t *testing.T, one, two string) {
		ada, bob := browser.Tab(t), browser.Tab(t)
		for name, at := range map[string]struct {
			page *browsertest.Page
			url  string
		}{"ada": {ada, one}, "bob": {bob, two}} {
			at.page.Navigate(at.url + "/?name=" + name)
			at.page.Until("connected", `() => chat.readyState === 1`)
		}
		ada.Say("hello <b>bob</b>")
		for _, p := range []*browsertest.Page{ada, bob} {
			p.Until("it is there", `() => document.querySelector("li")?.textContent === "ada: hello <b>bob</b>"`)
		}
		bob.Say("hi")
		ada.Until("the answer", `() => document.querySelector("li:last-child").textContent === "bob: hi"`)
	}
	t.Run("memory", func(t *testing.T) {
		url := start(t, "memory")
		talk(t, url, url)
	})
	t.Run("two processes on Redis", func(t *testing.T) {
		redis := servers.StartRedis(t, nil).URL()
		talk(t, start(t, redis), start(t, redis))
	})
}
