package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/servers"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// TestLength: the example is short.
func TestLength(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, len(regexp.MustCompile(`(?m)\S.*$`).FindAll(source, -1)), 100, "lines of main.go that are not empty")
}

// TestChat has clients of two servers subscribe, on memory and on Redis.
func TestChat(t *testing.T) {
	t.Run("memory", func(t *testing.T) { testChat(t, "memory") })
	t.Run("redis", func(t *testing.T) { testChat(t, servers.StartRedis(t, nil).URL()) })
}

func testChat(t *testing.T, address string) {
	list := start(t, address, 2)
	one, two := subscribe(t, list[0].url, "lobby"), subscribe(t, list[1].url, "lobby")
	other := subscribe(t, list[1].url, "kitchen")
	listeners(t, list[0].ns, "lobby", 2)
	listeners(t, list[0].ns, "kitchen", 1)

	say(t, list[0].url, "lobby", "ada", `hello \"all\"`)
	say(t, list[1].url, "kitchen", "bob", "tea?")
	for _, c := range []*client{one, two} {
		assert.Equal(t, `next {"data":{"lines":{"from":"ada","text":"hello \"all\""}}}`, c.next(t))
	}
	assert.Equal(t, `next {"data":{"lines":{"from":"bob","text":"tea?"}}}`, other.next(t), "and nothing of the lobby")

	// A client ends its subscription, another one breaks its connection, and the last one is disconnected by a server.
	one.send(t, `{"type":"complete","id":"1"}`)
	listeners(t, list[1].ns, "lobby", 1)
	two.conn.CloseNow()
	listeners(t, list[0].ns, "lobby", 0)
	_, err := list[0].ns.DisconnectAll(t.Context(), backplane.To("room:kitchen"), true)
	require.NoError(t, err)
	assert.Equal(t, "complete ", other.next(t))
	assert.Zero(t, list[1].ns.Len())

	assert.Contains(t, post(t, list[0].url, `{ server }`), list[0].ns.Node().ID())
	assert.Contains(t, post(t, list[0].url, `{ nothing }`), "GRAPHQL_VALIDATION_FAILED")
	assert.NotContains(t, post(t, list[0].url, "{ server }"+strings.Repeat(" ", 100_000)), list[0].ns.Node().ID(), "a query that is too long")
	long := subscribe(t, list[0].url, strings.Repeat("x", 5000))
	assert.Contains(t, long.next(t), "error", "a room that cannot be")
}

// TestSlowClient: the subscription of a client that does not read ends, and costs the others nothing.
func TestSlowClient(t *testing.T) {
	s := start(t, "memory", 1)[0]
	subscribe(t, s.url, "lobby").conn.SetReadLimit(1) // its test never reads
	listeners(t, s.ns, "lobby", 1)
	fast := subscribe(t, s.url, "lobby")
	listeners(t, s.ns, "lobby", 2)
	text := strings.Repeat("x", 100_000)
	for i := 0; s.ns.Len() == 2; i++ {
		require.Less(t, i, 1000, "messages for a client that never reads")
		require.NoError(t, s.ns.Broadcast(t.Context(), []byte(`{"text":"`+text+`"}`), backplane.To("room:lobby")))
		require.Contains(t, fast.next(t), text)
	}
	say(t, s.url, "lobby", "ada", "on")
	assert.Contains(t, fast.next(t), `"on"`)
}

type server struct {
	ns  *backplane.Namespace
	url string
}

func start(t *testing.T, address string, n int) (list []server) {
	system, err := dial.New(address, nil)
	require.NoError(t, err)
	for range n {
		b, err := system.Broker()
		require.NoError(t, err)
		ns, handler := newServer(t.Context(), b)
		web := httptest.NewServer(handler)
		list = append(list, server{ns, web.URL + "/query"})
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := ns.DisconnectAll(ctx, backplane.All().Local(), true)
			assert.NoError(t, err)
			web.Close()
			assert.NoError(t, ns.Node().Close(ctx))
			assert.NoError(t, b.Close(ctx))
		})
	}
	return list
}

// listeners waits until a room has n subscriptions, on all servers.
func listeners(t *testing.T, ns *backplane.Namespace, room string, n int) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		count, err := ns.Count(t.Context(), backplane.To("room:"+room))
		require.NoError(c, err)
		assert.Equal(c, n, count.Total)
	}, 30*time.Second, 5*time.Millisecond)
}

func post(t *testing.T, url, query string) string {
	t.Helper()
	res, err := http.Post(url, "application/json", strings.NewReader(fmt.Sprintf(`{"query":%q}`, query)))
	require.NoError(t, err)
	defer res.Body.Close()
	var b strings.Builder
	_, err = fmt.Fprint(&b, res.Status, " ")
	require.NoError(t, err)
	require.NoError(t, res.Write(&b))
	return b.String()
}

func say(t *testing.T, url, room, from, text string) {
	t.Helper()
	require.Contains(t, post(t, url, fmt.Sprintf(`mutation { say(room: "%s", from: "%s", text: "%s") { text } }`, room, from, text)), `"data":`)
}

// client speaks graphql-transport-ws.
type client struct{ conn *websocket.Conn }

func subscribe(t *testing.T, url, room string) *client {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	require.NoError(t, err)
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	c := &client{conn}
	c.send(t, `{"type":"connection_init"}`)
	require.Equal(t, "connection_ack ", c.next(t))
	c.send(t, fmt.Sprintf(`{"type":"subscribe","id":"1","payload":{"query":"subscription { lines(room: \"%s\") { from text } }"}}`, room))
	return c
}

func (c *client) send(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, c.conn.Write(t.Context(), websocket.MessageText, []byte(text)))
}

// next returns the next message that is no ping, and answers pings.
func (c *client) next(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		var m struct {
			Type    string
			Payload rawJSON
		}
		require.NoError(t, wsjson.Read(ctx, c.conn, &m))
		if m.Type != "ping" {
			return m.Type + " " + string(m.Payload)
		}
		c.send(t, `{"type":"pong"}`)
	}
}

type rawJSON string

func (r *rawJSON) UnmarshalJSON(b []byte) error { *r = rawJSON(b); return nil }
