package socketio_test

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/examples/chat/socketio"
)

// patience limits the wait for an event that should happen at once.
const patience = 10 * time.Second

// server is a Socket.IO server on a network of its own, in memory, so that it works in a bubble of testing/synctest.
// Its namespaces / and /custom behave like the server of the protocol's test suite.
type server struct {
	*socketio.Server
	http  *httptest.Server
	fleet *adapter.Server
	root  *adapter.Namespace

	connected chan *socketio.Socket
	left      chan departure
}

type departure struct {
	socket *socketio.Socket
	reason socketio.Reason
	rooms  []string
}

func newServer(t testing.TB, opts *socketio.Options) *server { return newServerOn(t, opts, nil) }

// newServerOn adds events to those of the namespaces.
func newServerOn(t testing.TB, opts *socketio.Options, more map[string]socketio.EventFunc) *server {
	t.Helper()
	b := memorybroker.NewBus(nil).Broker()
	fleet, err := adapter.New(b, nil)
	require.NoError(t, err)
	s := &server{
		Server: socketio.New(opts), fleet: fleet,
		connected: make(chan *socketio.Socket, 4096), left: make(chan departure, 4096),
	}
	h := socketio.Handler{
		Connect: func(ctx context.Context, s *socketio.Socket) error {
			auth := map[string]any{}
			if s.BindAuth(&auth) == nil && auth["token"] == "wrong" {
				return errNotAuthorized
			}
			s.SetData(auth)
			return nil
		},
		Connected: func(ctx context.Context, c *socketio.Socket) {
			c.Emit("auth", c.Data())
			s.connected <- c
		},
		Events: map[string]socketio.EventFunc{
			"message":          func(_ context.Context, c *socketio.Socket, e *socketio.Event) { c.Emit("message-back", e.Args...) },
			"message-with-ack": func(_ context.Context, _ *socketio.Socket, e *socketio.Event) { e.Ack(e.Args...) },
		},
		Disconnect: func(_ context.Context, c *socketio.Socket, reason socketio.Reason, rooms []string) {
			s.left <- departure{c, reason, rooms}
		},
	}
	for name, f := range more {
		h.Events[name] = f
	}
	for _, name := range []string{"/", "/custom"} {
		ns, err := fleet.Of(t.Context(), name)
		require.NoError(t, err)
		s.Handle(ns, h)
		if name == "/" {
			s.root = ns
		}
	}
	pipes := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	s.http = httptest.NewUnstartedServer(s.Server)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // intended panics
	s.http.Listener.Close()
	s.http.Listener = pipes
	s.http.Start()
	s.http.Client().Transport = &http.Transport{DialContext: pipes.dial, DisableKeepAlives: true}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, err := range []error{s.Close(ctx), fleet.Close(ctx), b.Close(ctx)} {
			assert.NoError(t, err)
		}
		s.http.Close()
	})
	return s
}

type textError string

func (e textError) Error() string { return string(e) }

const errNotAuthorized = textError("Not authorized")

// pipes is a network of synchronous connections: one side can write only what the other reads.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// client speaks the protocol by hand.
type client struct {
	*websocket.Conn
	t         testing.TB
	questions int
}

// dial opens a connection; the caller must read the handshake.
func (s *server) dial(t testing.TB) *client {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://127.0.0.1/socket.io/?EIO=4&transport=websocket",
		&websocket.DialOptions{HTTPClient: s.http.Client()})
	require.NoError(t, err)
	ws.SetReadLimit(16 << 20)
	t.Cleanup(func() { ws.CloseNow() })
	return &client{Conn: ws, t: t}
}

// open opens a connection up to the Engine.IO handshake.
func (s *server) open(t testing.TB) *client {
	t.Helper()
	c := s.dial(t)
	got := c.read()
	require.True(t, strings.HasPrefix(got, "0{"), "handshake: %s", got)
	return c
}

// enter opens a connection and enters the main namespace.
func (s *server) enter(t testing.TB) (*client, *socketio.Socket) {
	t.Helper()
	c := s.open(t)
	c.send("40")
	got := c.read()
	require.True(t, strings.HasPrefix(got, `40{"sid":"`), "connect: %s", got)
	c.expect(`42["auth",{}]`)
	return c, <-s.connected
}

func (c *client) send(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	assert.NoError(c.t, c.Write(ctx, websocket.MessageText, []byte(text)), "sending %.100q", text)
}

func (c *client) attach(b []byte) {
	c.t.Helper()
	require.NoError(c.t, c.Write(c.t.Context(), websocket.MessageBinary, b))
}

// read returns the next message; binary ones with "b:" before them.
func (c *client) read() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	typ, b, err := c.Read(ctx)
	require.NoError(c.t, err, "reading")
	if typ == websocket.MessageBinary {
		return "b:" + string(b)
	}
	return string(b)
}

func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		require.Equal(c.t, w, c.read())
	}
}

// expectEnd reads until the connection ends, and returns the last message and the error.
func (c *client) expectEnd() (last string, err error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			require.NoError(c.t, ctx.Err(), "the connection did not end")
			return last, err
		}
		last = string(b)
	}
}

// gone waits for the departure of a socket and checks the reason.
func (s *server) gone(t testing.TB, reason socketio.Reason) departure {
	t.Helper()
	select {
	case d := <-s.left:
		require.Equal(t, reason, d.reason, "disconnected")
		return d
	case <-time.After(time.Minute):
		t.Fatalf("no client left; want %q", reason)
		return departure{}
	}
}

// get makes a request that opens no connection, and returns status and error code.
func (s *server) get(t testing.TB, method, query string) (status, code int, message string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1/socket.io/"+query, nil)
	require.NoError(t, err)
	res, err := s.http.Client().Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var answer struct {
		Code    int
		Message string
	}
	require.NoError(t, json.Unmarshal(body, &answer), "%s %s: %d %q", method, query, res.StatusCode, body)
	return res.StatusCode, answer.Code, answer.Message
}
