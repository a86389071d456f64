package zishang520

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

const patience = 20 * time.Second

// node is a server of a fleet on a memory bus.
type node struct {
	io    *socket.Server
	fleet *Fleet
	url   string

	mu   sync.Mutex
	errs []error
}

// start starts a server and waits until it is ready.
func start(t testing.TB, b broker.Broker, opts *socket.ServerOptions, change ...func(*adapter.Options)) *node {
	t.Helper()
	n := open(t, b, opts, change...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.fleet.Ready(ctx))
	return n
}

// open starts a server.
func open(t testing.TB, b broker.Broker, opts *socket.ServerOptions, change ...func(*adapter.Options)) *node {
	t.Helper()
	n := &node{}
	o := &adapter.Options{Heartbeat: 50 * time.Millisecond, PeerTimeout: patience, OnError: func(err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.errs = append(n.errs, err)
	}}
	for _, f := range change {
		f(o)
	}
	if opts == nil {
		opts = socket.DefaultServerOptions()
	}
	n.io, n.fleet = socket.NewServer(nil, opts), New(b, o)
	n.io.SetAdapter(n.fleet)
	s := serve(t, n)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		n.io.Close(nil)
		err := n.fleet.Close(ctx)
		if b != nil {
			err = errors.Join(err, b.Close(ctx))
		}
		require.NoError(t, err)
		s.CloseClientConnections()
	})
	return n
}

// serve serves a server until the test ends.
func serve(t testing.TB, n *node) *httptest.Server {
	s := httptest.NewServer(n.io.ServeHandler(nil))
	n.url = "ws" + strings.TrimPrefix(s.URL, "http")
	t.Cleanup(s.Close)
	return s
}

func (n *node) errors() []error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]error(nil), n.errs...)
}

// pair starts two servers and waits until they know each other.
func pair(t testing.TB, opts func() *socket.ServerOptions) (here, there *node) {
	t.Helper()
	if opts == nil {
		opts = socket.DefaultServerOptions
	}
	bus := memorybroker.NewBus(nil)
	here, there = start(t, bus.Broker(), opts()), start(t, bus.Broker(), opts())
	t.Cleanup(func() { require.Empty(t, append(here.errors(), there.errors()...)) })
	require.Eventually(t, func() bool {
		return here.io.Sockets().Adapter().ServerCount() == 2 && there.io.Sockets().Adapter().ServerCount() == 2
	}, patience, time.Millisecond)
	return here, there
}

// client is a connection that implements the protocol without the libraries.
type client struct {
	t      testing.TB
	conn   *websocket.Conn
	nsp    string
	id     socket.SocketId
	pid    string
	answer func(event string, args []any) []any // nil: no acknowledgements
	events chan []any
	gone   chan struct{}
	socket *socket.Socket

	mu sync.Mutex // for writing
}

var packet = regexp.MustCompile(`^4([0-6])(?:(\d+)-)?(?:(/[^,\[{]*),)?(\d*)(.*)$`)

// connect connects a client to a namespace, in rooms.
func (n *node) connect(t testing.TB, nsp string, answer func(string, []any) []any, rooms ...socket.Room) *client {
	t.Helper()
	c := n.dial(t, nsp, "", answer)
	c.socket, _ = n.io.Of(nsp, nil).Sockets().Load(c.id)
	if len(rooms) > 0 {
		c.socket.Join(rooms...)
	}
	return c
}

func (n *node) dial(t testing.TB, nsp, auth string, answer func(string, []any) []any) *client {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial(n.url+"/socket.io/?EIO=4&transport=websocket&who=tester", nil)
	require.NoError(t, err)
	c := &client{t: t, conn: conn, nsp: nsp, answer: answer, events: make(chan []any, 1000), gone: make(chan struct{})}
	t.Cleanup(c.close)
	connected := make(chan string, 1)
	go c.read(connected)
	c.write("40" + c.prefix() + auth)
	select {
	case text := <-connected:
		var hello struct {
			Sid socket.SocketId
			Pid string
		}
		require.NoError(t, json.Unmarshal([]byte(text), &hello), text)
		c.id, c.pid = hello.Sid, hello.Pid
	case <-time.After(patience):
		t.Fatal("not connected")
	}
	return c
}

func (c *client) prefix() string {
	if c.nsp == "/" {
		return ""
	}
	return c.nsp + ","
}

func (c *client) write(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.conn.WriteMessage(websocket.TextMessage, []byte(text)) // the connection may be closed
}

func (c *client) close() {
	_ = c.conn.Close()
	<-c.gone
}

// read handles packets until the connection ends.
func (c *client) read(connected chan<- string) {
	defer close(c.gone)
	for {
		_, text, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		if string(text) == "2" {
			c.write("3")
			continue
		}
		m := packet.FindStringSubmatch(string(text))
		if m == nil {
			continue
		}
		switch m[1] {
		case "0", "4":
			connected <- m[5]
		case "1":
			c.events <- []any{"disconnected"}
		case "2", "5":
			var data []any
			if err := json.Unmarshal([]byte(m[5]), &data); err != nil {
				c.events <- []any{"unreadable", string(text)}
				continue
			}
			var attachments [][]byte
			for n := 0; fmt.Sprint(n) != m[2] && m[2] != ""; n++ {
				_, b, err := c.conn.ReadMessage()
				if err != nil {
					return
				}
				attachments = append(attachments, b)
			}
			data = filled(data, attachments).([]any)
			if m[4] != "" && c.answer != nil {
				if values := c.answer(data[0].(string), data[1:]); values != nil {
					answer, _ := json.Marshal(values)
					c.write("43" + c.prefix() + m[4] + string(answer))
				}
			}
			c.events <- data
		}
	}
}

// filled replaces placeholders with their attachments.
func filled(v any, attachments [][]byte) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = filled(v[i], attachments)
		}
	case map[string]any:
		if v["_placeholder"] == true {
			return bytes.Clone(attachments[int(v["num"].(float64))])
		}
		for k := range v {
			v[k] = filled(v[k], attachments)
		}
	}
	return v
}

// until returns the events up to and without marker.
func (c *client) until(marker string) (events [][]any) {
	c.t.Helper()
	for {
		select {
		case e := <-c.events:
			if e[0] == marker {
				return events
			}
			events = append(events, e)
		case <-time.After(patience):
			c.t.Fatalf("no %s; got %v", marker, events)
		}
	}
}

// names returns the names of the events up to a marker.
func (c *client) names(marker string) (names []string) {
	c.t.Helper()
	for _, e := range c.until(marker) {
		names = append(names, e[0].(string))
	}
	return names
}
