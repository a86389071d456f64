package hub_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/outgoing"
)

func newNode(t *testing.T, bus *memorybroker.Bus) *backplane.Node {
	b := bus.Broker()
	node, err := backplane.New(b, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, node.Close(context.Background()))
		assert.NoError(t, b.Close(context.Background()))
	})
	return node
}

func TestOptions(t *testing.T) {
	node := newNode(t, memorybroker.NewBus(nil))
	for option, o := range map[string]hub.Options{
		"Origins": {Origins: []string{"["}}, "PingInterval": {PingInterval: -1}, "PingTimeout": {PingTimeout: -1},
		"IdleTimeout": {IdleTimeout: -1}, "CloseTimeout": {CloseTimeout: -1}, "Retry": {Retry: -1},
		"MaxMessage": {MaxMessage: -1}, "Burst": {Burst: -1}, "MaxConnections": {MaxConnections: -1},
		"Queue.WriteTimeout": {Queue: outgoing.Options{WriteTimeout: -1}},
	} {
		_, err := hub.New(t.Context(), node, "hub", &o)
		var e *hub.OptionError
		if assert.ErrorAs(t, err, &e, option) {
			assert.Equal(t, option, e.Option)
			assert.Contains(t, err.Error(), "hub: option "+option)
		}
	}
	h, err := hub.New(t.Context(), node, "hub", nil)
	require.NoError(t, err)
	assert.Equal(t, "hub", h.Namespace().Name())
	_, err = hub.New(t.Context(), node, "hub", nil)
	assert.ErrorIs(t, err, backplane.ErrNamespaceExists)
	assert.NoError(t, h.Close(t.Context()))
}

// fake is a Socket without a network: what is written can be read from it.
type fake struct {
	in, out chan hub.Message
	closed  chan struct{}
	code    int
}

func (f *fake) Read() (hub.Message, error) {
	select {
	case m := <-f.in:
		return m, nil
	case <-f.closed:
		return hub.Message{}, errors.New("closed")
	}
}
func (f *fake) Write(m hub.Message) error      { f.out <- m; return nil }
func (f *fake) Ping(context.Context) error     { return nil }
func (f *fake) Close(code int, _ string) error { f.code = code; f.CloseNow(); return nil }
func (f *fake) CloseNow() {
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
}

// TestSocket: any implementation of Socket serves, and a worker without connections reaches it.
func TestSocket(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	h, err := hub.New(t.Context(), newNode(t, bus), "hub", &hub.Options{
		OnConnect: func(_ context.Context, c *hub.Conn) error { return c.Send(hub.Text("hello")) },
	})
	require.NoError(t, err)
	f := &fake{make(chan hub.Message), make(chan hub.Message, 10), make(chan struct{}), 0}
	h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return f, nil }).ServeHTTP(nil, &http.Request{})
	assert.Equal(t, hub.Text("hello"), <-f.out)

	b := bus.Broker()
	worker, err := backplane.NewEmitter(b, nil)
	require.NoError(t, err)
	m := hub.Message{Data: []byte{1, 2}, Binary: true, Event: "e", ID: "9"}
	require.NoError(t, hub.Emit(t.Context(), worker, "hub", hub.Everyone(), m))
	assert.Equal(t, m, <-f.out)
	var bad *hub.MessageError
	assert.ErrorAs(t, hub.Emit(t.Context(), worker, "hub", hub.Everyone(), hub.Text("\xff")), &bad)
	assert.NoError(t, hub.Emit(t.Context(), worker, "hub", hub.Room(), m))
	require.NoError(t, b.Close(t.Context()))

	require.NoError(t, h.Close(t.Context()))
	assert.Equal(t, 1001, f.code)
}

// TestUnreadableMessages of other processes are counted and reported, and reach no client.
func TestUnreadableMessages(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	reported := make(chan error, 10)
	h, err := hub.New(t.Context(), newNode(t, bus), "hub", &hub.Options{OnError: func(err error) { reported <- err }})
	require.NoError(t, err)
	f := &fake{make(chan hub.Message), make(chan hub.Message, 10), make(chan struct{}), 0}
	h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return f, nil }).ServeHTTP(nil, &http.Request{})
	for h.Namespace().Len() == 0 {
		time.Sleep(time.Millisecond) // polls
	}
	other := newNode(t, bus)
	ns, err := other.Namespace(t.Context(), "hub", nil)
	require.NoError(t, err)
	for _, garbage := range []string{"", "\x01", "hello", "\x02\x00", "\x01\x80", "\x01\x02\xff", "\x01\x00\xff"} {
		require.NoError(t, ns.Broadcast(t.Context(), []byte(garbage), backplane.All()))
	}
	for range 4 {
		assert.ErrorContains(t, <-reported, "not a message of a hub")
	}
	assert.ErrorContains(t, <-reported, "not a message of a hub (and 2 more)")
	_, err = ns.Request(t.Context(), []byte("garbage"))
	assert.NoError(t, err, "the response is an error of that node")
	require.NoError(t, h.Send(t.Context(), hub.Everyone(), hub.Text("on")))
	assert.Equal(t, hub.Text("on"), <-f.out)
	assert.Equal(t, uint64(7), h.Stats().Unreadable)
	require.NoError(t, h.Close(t.Context()))
}

// TestFloodOfUnreadableMessages, from a process with a name that is no line of a log: few of them are reported, on one line each.
func TestFloodOfUnreadableMessages(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	var mu sync.Mutex
	var reports []error
	h, err := hub.New(t.Context(), newNode(t, bus), "hub", &hub.Options{OnError: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		reports = append(reports, err)
	}})
	require.NoError(t, err)
	f := &fake{make(chan hub.Message), make(chan hub.Message, 10), make(chan struct{}), 0}
	h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return f, nil }).ServeHTTP(nil, &http.Request{})
	for h.Namespace().Len() == 0 {
		time.Sleep(time.Millisecond) // polls
	}
	attacker := bus.Broker()
	message := msgpack.AppendString(msgpack.AppendInt(msgpack.AppendArrayLen(nil, 9), 1), "\x1b[2J\n"+strings.Repeat("x", 1<<16))
	message = msgpack.AppendNil(msgpack.AppendNil(msgpack.AppendNil(msgpack.AppendUint(msgpack.AppendUint(message, 1), 0))))
	message = msgpack.AppendBytes(msgpack.AppendString(message, ""), []byte("garbage"))
	const flood = 10_000
	began := time.Now()
	for n := range uint64(flood) {
		require.NoError(t, attacker.Publish(t.Context(), broker.Native.Broadcast("hub"), message))
		if n%100 == 0 {
			for h.Stats().Unreadable < n {
				time.Sleep(time.Millisecond) // polls: the memory broker drops what exceeds a subscription's queue
			}
		}
	}
	for h.Stats().Unreadable < flood {
		time.Sleep(time.Millisecond) // polls
	}
	require.NoError(t, h.Close(t.Context()))
	require.NoError(t, attacker.Close(t.Context()))
	mu.Lock()
	defer mu.Unlock()
	assert.LessOrEqual(t, len(reports), 6+int(time.Since(began)/time.Second), "of %d messages", flood)
	for _, err := range reports {
		assert.Less(t, len(err.Error()), 1000)
		assert.NotContains(t, err.Error(), "\x1b")
		assert.NotContains(t, err.Error(), "\n")
	}
}

// TestRefuse: a server does not carry out for others what its options refuse, and carries it out for itself.
func TestRefuse(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	var seen []backplane.Operations
	h, err := hub.New(t.Context(), newNode(t, bus), "hub", &hub.Options{
		Refuse: backplane.Requests | backplane.Disconnects, OnError: func(error) {},
		OnOperation: func(op *backplane.Operation) error {
			seen = append(seen, op.Kind)
			return errors.New("no")
		},
	})
	require.NoError(t, err)
	f := &fake{make(chan hub.Message), make(chan hub.Message, 10), make(chan struct{}), 0}
	h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return f, nil }).ServeHTTP(nil, &http.Request{})
	for h.Namespace().Len() == 0 {
		time.Sleep(time.Millisecond) // polls
	}
	other, err := hub.New(t.Context(), newNode(t, bus), "hub", nil)
	require.NoError(t, err)
	n, err := other.Kick(t.Context(), hub.Everyone(), 4000, "")
	assert.ErrorContains(t, err, "refused")
	assert.ErrorContains(t, err, h.Namespace().Node().ID())
	assert.Zero(t, n)
	n, err = other.Join(t.Context(), hub.Everyone(), "room")
	assert.ErrorContains(t, err, "no")
	assert.Zero(t, n)
	assert.Equal(t, []backplane.Operations{backplane.Joins}, seen)
	assert.Equal(t, 1, h.Namespace().Len())
	n, err = h.Kick(t.Context(), hub.Everyone().Local(), 4000, "")
	assert.NoError(t, err)
	assert.Equal(t, 1, n)
	require.NoError(t, errors.Join(other.Close(t.Context()), h.Close(t.Context())))
	assert.Equal(t, 4000, f.code)
}

// TestJoinAfterTheEnd: a connection that has ended is not looked for on other servers.
func TestJoinAfterTheEnd(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	ended := make(chan *hub.Conn, 1)
	h, err := hub.New(t.Context(), newNode(t, bus), "hub", &hub.Options{OnDisconnect: func(c *hub.Conn, _ *hub.CloseError) { ended <- c }})
	require.NoError(t, err)
	asked := make(chan backplane.Operations, 10)
	other, err := hub.New(t.Context(), newNode(t, bus), "hub", &hub.Options{OnOperation: func(op *backplane.Operation) error {
		asked <- op.Kind
		return nil
	}})
	require.NoError(t, err)
	f := &fake{make(chan hub.Message), make(chan hub.Message, 10), make(chan struct{}), 0}
	h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return f, nil }).ServeHTTP(nil, &http.Request{})
	for h.Namespace().Len() == 0 {
		time.Sleep(time.Millisecond) // polls
	}
	_, err = h.Kick(t.Context(), hub.Everyone().Local(), 4000, "")
	require.NoError(t, err)
	c := <-ended
	for h.Namespace().Len() > 0 {
		time.Sleep(time.Millisecond) // polls
	}
	assert.ErrorIs(t, c.Join(t.Context(), "room"), backplane.ErrNoSuchMember)
	assert.ErrorIs(t, c.Leave(t.Context(), "room"), backplane.ErrNoSuchMember)
	require.NoError(t, errors.Join(h.Close(t.Context()), other.Close(t.Context())))
	assert.Empty(t, asked)
}

// TestBlockedCallback: Close returns when its context ends, and the callback stays behind.
func TestBlockedCallback(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h, err := hub.New(t.Context(), newNode(t, memorybroker.NewBus(nil)), "hub", &hub.Options{
		OnMessage: func(context.Context, *hub.Conn, hub.Message) error { close(entered); <-leave; return nil },
	})
	require.NoError(t, err)
	f := &fake{make(chan hub.Message), make(chan hub.Message, 10), make(chan struct{}), 0}
	h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return f, nil }).ServeHTTP(nil, &http.Request{})
	f.in <- hub.Text("block")
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, h.Close(ctx), context.DeadlineExceeded)
	assert.Equal(t, 1, h.Stats().Sockets)
	close(leave)
	assert.NoError(t, h.Close(t.Context()))
	assert.Zero(t, h.Stats().Sockets)
}

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	err := &hub.CloseError{Code: 1008, Reason: "r", Remote: true, Err: cause}
	assert.EqualError(t, err, `hub: connection closed by the client with code 1008 ("r"): cause`)
	assert.ErrorIs(t, err, cause)
	assert.EqualError(t, hub.Refuse(401, "who?"), "hub: refused with status 401: who?")
	assert.True(t, strings.HasPrefix((&hub.MessageError{Reason: "x"}).Error(), "hub: "))
}

// TestOutage: a hub accepts connections while its node is cut off, and sends to them. Messages for other servers wait.
func TestOutage(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	node, other := newNode(t, bus), newNode(t, bus)
	h, err := hub.New(t.Context(), node, "hub", &hub.Options{
		Authenticate: func(*http.Request) (hub.Identity, error) { return hub.Identity{Rooms: []string{"lobby"}}, nil },
	})
	require.NoError(t, err)
	there, err := hub.New(t.Context(), other, "hub", &hub.Options{
		Authenticate: func(*http.Request) (hub.Identity, error) { return hub.Identity{Rooms: []string{"lobby"}}, nil },
	})
	require.NoError(t, err)
	connect := func(h *hub.Hub) *fake {
		f := &fake{in: make(chan hub.Message), out: make(chan hub.Message, 10), closed: make(chan struct{})}
		before := h.Stats().Sockets
		h.WebSocket(func(http.ResponseWriter, *http.Request, int) (hub.Socket, error) { return f, nil }).ServeHTTP(nil, &http.Request{})
		require.Eventually(t, func() bool {
			list, err := h.Connections(t.Context(), hub.Room("lobby").Local())
			return err == nil && len(list) == before+1
		}, 10*time.Second, time.Millisecond)
		return f
	}
	far := connect(there)
	b := node.Broker().(*memorybroker.Broker)
	memorytest.Cut(b, nil)
	near := connect(h)
	require.NoError(t, h.Send(t.Context(), hub.Room("lobby"), hub.Text("hello")))
	assert.Equal(t, "hello", string((<-near.out).Data))
	assert.Empty(t, far.out)
	memorytest.Heal(b)
	assert.Equal(t, "hello", string((<-far.out).Data))
	require.NoError(t, h.Close(t.Context()))
	require.NoError(t, there.Close(t.Context()))
	assert.ErrorIs(t, h.Send(t.Context(), hub.Everyone(), hub.Text("late")), backplane.ErrClosed)
}
