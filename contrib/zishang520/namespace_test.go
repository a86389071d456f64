package zishang520

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/zishang520/socket.io/parsers/socket/v3/parser"
	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

func TestBroadcastReachesTheSelected(t *testing.T) {
	here, there := pair(t, nil)
	a := here.connect(t, "/", nil, "red")
	b := there.connect(t, "/", nil, "red")
	c := there.connect(t, "/", nil, "blue")
	io := here.io
	io.Emit("all", 1)
	io.To("red").Emit("red")
	io.To("red", "blue").Emit("both")
	io.To("red").Except(socket.Room(b.id)).Emit("but b")
	io.Except("blue").Emit("but blue")
	io.To("red").Local().Emit("local")
	io.To(socket.Room(c.id)).Emit("c")
	io.Compress(false).To("blue").Emit("plain")
	a.socket.Broadcast().Emit("others")
	a.socket.To("red").Emit("others in red")
	io.Emit("end")
	assert.Equal(t, []string{"all", "red", "both", "but b", "but blue", "local"}, a.names("end"))
	assert.Equal(t, []string{"all", "red", "both", "but blue", "others", "others in red"}, b.names("end"))
	assert.Equal(t, []string{"all", "both", "c", "plain", "others"}, c.names("end"))
}

// TestOperationsHaveOneOrder: an operation on sockets of other servers is complete before the next one.
func TestOperationsHaveOneOrder(t *testing.T) {
	here, there := pair(t, nil)
	b := there.connect(t, "/", nil)
	for i := range 50 {
		room := socket.Room(fmt.Sprint("room ", i))
		here.io.In(socket.Room(b.id)).SocketsJoin(room)
		here.io.To(room).Emit("in")
		here.io.To(room).SocketsLeave(room)
		here.io.To(room).Emit("out")
	}
	here.io.To(socket.Room(b.id)).DisconnectSockets(false)
	var want []string
	for range 50 {
		want = append(want, "in")
	}
	assert.Equal(t, want, b.names("disconnected"))
}

func TestRoomsStayTrue(t *testing.T) {
	here, there := pair(t, nil)
	b := there.connect(t, "/", nil, "red")
	var mu sync.Mutex
	var events []string
	rooms := there.io.Sockets().Adapter()
	for _, name := range []types.EventName{"create-room", "join-room", "leave-room", "delete-room"} {
		rooms.On(name, func(args ...any) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, strings.Trim(fmt.Sprint(name, args), "[]"))
			// A listener's calls must not wait for the goroutine on which the listener runs.
			there.io.In("empty").SocketsJoin("x")
			there.io.FetchSockets()(func([]*socket.RemoteSocket, error) {})
		})
	}
	took := func(io *socket.Server) []string {
		done := make(chan struct{})
		io.FetchSockets()(func([]*socket.RemoteSocket, error) { close(done) })
		<-done
		mu.Lock()
		defer mu.Unlock()
		list := events
		events = nil
		return list
	}
	for _, n := range []*node{here, there} {
		n.io.In("red").SocketsJoin("blue")
		id := string(b.id)
		assert.Equal(t, []string{"create-room[blue", "join-room[blue " + id}, took(n.io))
		assert.True(t, b.socket.Rooms().Has("blue"))
		ids, _ := rooms.Rooms().Load("blue")
		assert.Equal(t, []socket.SocketId{b.id}, ids.Keys())
		n.io.In("blue").SocketsLeave("blue")
		assert.Equal(t, []string{"leave-room[blue " + id, "delete-room[blue"}, took(n.io))
		assert.False(t, b.socket.Rooms().Has("blue"))
	}
	// The fleet knows the rooms that this server's own code changes.
	ns, err := here.fleet.Server().Of(t.Context(), "/")
	require.NoError(t, err)
	b.socket.Leave("red")
	b.socket.Join("new")
	list, err := ns.ClientRooms(t.Context(), string(b.id))
	require.NoError(t, err)
	assert.Equal(t, slices.Sorted(slices.Values([]string{string(b.id), "new"})), list)
	b.close()
	require.Eventually(t, func() bool {
		all, err := ns.AllRooms(t.Context())
		return err == nil && len(all.List) == 0
	}, patience, time.Millisecond)
}

func TestAcksArePassedOnAtOnce(t *testing.T) {
	here, there := pair(t, nil)
	release := make(chan struct{})
	say := func(v any) func(string, []any) []any { return func(string, []any) []any { return []any{v} } }
	here.connect(t, "/", say("a"), "red")
	there.connect(t, "/", say(map[string]any{"n": 1}), "red")
	there.connect(t, "/", func(string, []any) []any { <-release; return []any{"late"} }, "red")
	counts, values := make(chan uint64, 10), make(chan any, 10)
	rooms := here.io.Sockets().Adapter()
	rooms.BroadcastWithAck(
		&parser.Packet{Type: parser.EVENT, Data: []any{"question", types.NewBytesBufferString("bin")}},
		&socket.BroadcastOptions{Rooms: types.NewSet[socket.Room]("red"), Flags: &socket.BroadcastFlags{Timeout: new(patience)}},
		func(n uint64) { counts <- n }, func(v []any, err error) { values <- v[0] },
	)
	assert.ElementsMatch(t, []uint64{1, 2}, []uint64{<-counts, <-counts})
	assert.ElementsMatch(t, []any{"a", map[string]any{"n": 1.0}}, []any{<-values, <-values})
	assert.Empty(t, values)
	close(release)
	assert.Equal(t, "late", <-values)

	// The form that applications use.
	done := make(chan []any, 1)
	here.io.To("red").Timeout(patience).EmitWithAck("question")(func(v []any, err error) {
		assert.NoError(t, err)
		done <- v
	})
	assert.Len(t, <-done, 3)
	here.io.To("red").Local().Timeout(patience).EmitWithAck("question")(func(v []any, err error) {
		assert.NoError(t, err)
		done <- v
	})
	assert.Equal(t, []any{"a"}, <-done)
	// A client that never acknowledges.
	there.connect(t, "/", nil, "red")
	here.io.To("red").Timeout(200 * time.Millisecond).EmitWithAck("question")(func(v []any, err error) {
		assert.Error(t, err)
		done <- v
	})
	assert.Len(t, <-done, 3)
}

func TestFetchSockets(t *testing.T) {
	here, there := pair(t, nil)
	for _, n := range []*node{here, there} {
		n.io.Of("/chat", nil)
		require.NoError(t, n.fleet.Ready(t.Context()))
	}
	a, b := here.connect(t, "/chat", nil, "red"), there.connect(t, "/chat", nil, "red", "blue")
	b.socket.SetData(map[string]any{"name": "B"})
	type answer struct {
		list []*socket.RemoteSocket
		err  error
	}
	fetch := func(o *socket.BroadcastOperator) (a answer) {
		done := make(chan answer, 1)
		o.FetchSockets()(func(list []*socket.RemoteSocket, err error) { done <- answer{list, err} })
		return <-done
	}
	got := fetch(here.io.Of("/chat", nil).In("red"))
	require.NoError(t, got.err)
	require.Len(t, got.list, 2)
	require.Equal(t, a.id, got.list[0].Id())
	s := got.list[1]
	require.Equal(t, b.id, s.Id())
	assert.ElementsMatch(t, []socket.Room{socket.Room(b.id), "red", "blue"}, s.Rooms().Keys())
	assert.Equal(t, map[string]any{"name": "B"}, s.Data())
	assert.Equal(t, "tester", s.Handshake().Query["who"])
	assert.Contains(t, s.Handshake().Headers, "user-agent")
	s.Join("by hand")
	require.NoError(t, s.Emit("hello", "there"))
	s.Disconnect(false)
	assert.Equal(t, []string{"hello"}, b.names("disconnected"))
	assert.Len(t, fetch(here.io.Of("/chat", nil).Local()).list, 1)
}

func TestServerSideEmit(t *testing.T) {
	here, there := pair(t, nil)
	got := make(chan []any, 10)
	there.io.On("news", func(args ...any) { got <- args })
	there.io.On("ask", func(args ...any) { args[1].(socket.Ack)([]any{"you said", args[0]}, nil) })
	there.io.On("connection", func(args ...any) { got <- args })
	require.NoError(t, here.io.ServerSideEmit("news", 1, map[string]any{"a": nil}))
	assert.Equal(t, []any{1.0, map[string]any{"a": nil}}, <-got)
	ask := func(event string, args ...any) (v []any) {
		done := make(chan []any, 1)
		require.NoError(t, here.io.ServerSideEmitWithAck(event, args...)(func(v []any, err error) {
			assert.NoError(t, err)
			done <- v
		}))
		return <-done
	}
	assert.Equal(t, []any{"you said"}, ask("ask", "hi"))
	assert.Equal(t, []any{nil}, ask("no listener"), "at once, and without a value")
	require.Error(t, here.io.ServerSideEmit("connection"))
	require.Error(t, here.io.ServerSideEmit("news", func() {}))
	assert.Empty(t, got)
}

// reader is a binary value that can be read once.
type reader struct {
	*bytes.Reader
	closed atomic.Int32
}

func (r *reader) Close() error { r.closed.Add(1); return nil }

func TestValuesOfTheServer(t *testing.T) {
	here, there := pair(t, nil)
	clients := []*client{here.connect(t, "/", nil), there.connect(t, "/", nil)}
	once := &reader{Reader: bytes.NewReader([]byte("once"))}
	type record struct {
		Name string            `json:"name"`
		Raw  []byte            `json:"raw"`
		Of   map[string]string `json:"of"`
	}
	nested := map[string]any{"list": []any{types.NewBytesBuffer([]byte{1}), once}, "n": 7}
	here.io.Emit("values", nested, types.NewStringBufferString("text"), strings.NewReader("more"), record{"x", []byte{9}, nil}, []string{"s"}, []byte{2})
	for _, c := range clients {
		e := <-c.events
		assert.Equal(t, []any{
			"values", map[string]any{"list": []any{[]byte{1}, []byte("once")}, "n": 7.0}, "text", "more",
			map[string]any{"name": "x", "raw": "CQ==", "of": nil}, []any{"s"}, []byte{2},
		}, e)
	}
	assert.Equal(t, int32(1), once.closed.Load())
	assert.IsType(t, &reader{}, nested["list"].([]any)[1], "the application's value was changed")
}

// loud is a custom parser that marks each packet.
type loud struct{ parser.Parser }

type loudEncoder struct{ parser.Encoder }

func (l loud) NewEncoder() parser.Encoder { return loudEncoder{l.Parser.NewEncoder()} }

func (e loudEncoder) Encode(p *parser.Packet) []types.BufferInterface {
	if data, ok := p.Data.([]any); ok && p.Type == parser.EVENT {
		own := *p
		own.Data = append(slices.Clone(data), "LOUD")
		p = &own
	}
	return e.Encoder.Encode(p)
}

func TestOwnParser(t *testing.T) {
	here, there := pair(t, func() *socket.ServerOptions {
		o := socket.DefaultServerOptions()
		o.SetParser(loud{parser.NewParser()})
		return o
	})
	say := func(_ string, args []any) []any { return args[1:] }
	clients := []*client{here.connect(t, "/", say), there.connect(t, "/", say), there.connect(t, "/", say)}
	here.io.Emit("a", []byte{1}, 2)
	for _, c := range clients {
		assert.Equal(t, []any{"a", []byte{1}, 2.0, "LOUD"}, <-c.events)
	}
	done := make(chan []any, 1)
	here.io.Timeout(patience).EmitWithAck("ask", 0)(func(v []any, err error) { done <- v })
	assert.Equal(t, []any{"LOUD", "LOUD", "LOUD"}, <-done)
}

func TestOutgoingListeners(t *testing.T) {
	here, there := pair(t, nil)
	b := there.connect(t, "/", nil)
	got := make(chan []any, 1)
	b.socket.OnAnyOutgoing(func(args ...any) { got <- args })
	here.io.Emit("news", "x")
	assert.Equal(t, []any{"news", "x"}, <-got)
}

func TestConnectionStateRecovery(t *testing.T) {
	here, there := pair(t, func() *socket.ServerOptions {
		o := socket.DefaultServerOptions()
		o.SetConnectionStateRecovery(socket.DefaultConnectionStateRecovery())
		return o
	})
	b := there.connect(t, "/", nil, "red")
	here.io.Emit("first", 1)
	first := <-b.events
	require.Len(t, first, 3, "an offset is the last argument")
	there.io.Emit("own")
	own := <-b.events
	gone := make(chan struct{})
	b.socket.On("disconnect", func(...any) { close(gone) })
	b.close()
	<-gone
	here.io.Emit("missed", []byte{1})
	here.io.To("red").Emit("missed too")
	here.io.To("blue").Emit("not for it")
	there.io.Emit("mine")
	other := there.connect(t, "/", nil)
	here.io.To(socket.Room(other.id)).Emit("end")
	other.until("end")
	again := there.dial(t, "/", fmt.Sprintf(`{"pid":%q,"offset":%q}`, b.pid, own[len(own)-1]), nil)
	assert.Equal(t, b.id, again.id)
	here.io.Emit("now")
	names := again.names("now")
	slices.Sort(names) // messages of two servers have no order
	assert.Equal(t, []string{"mine", "missed", "missed too"}, names)
	here.io.To("red").Emit("still in red")
	again.until("still in red")
	assert.False(t, first[2] == own[len(own)-1])
}

// flaky is a broker that cannot subscribe until it is healthy.
type flaky struct {
	broker.Broker
	well atomic.Bool
}

var errIll = errors.New("ill")

func (f *flaky) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if !f.well.Load() {
		return nil, errIll
	}
	return f.Broker.Subscribe(ctx, r, filters...)
}

func TestStartWithoutBroker(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	b := &flaky{Broker: bus.Broker()}
	n := open(t, b, nil)
	a := n.connect(t, "/", nil, "red")
	n.io.To("red").Emit("local")
	a.until("local")
	n.io.In("red").SocketsJoin("blue")
	require.True(t, a.socket.Rooms().Has("blue"))
	require.EqualValues(t, 1, n.io.Sockets().Adapter().ServerCount())
	require.ErrorIs(t, n.io.ServerSideEmit("x"), errIll)
	done := make(chan int, 1)
	n.io.FetchSockets()(func(list []*socket.RemoteSocket, err error) { go func() { done <- len(list) }() })
	require.Equal(t, 1, <-done)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, n.fleet.Ready(ctx), errIll)
	require.Len(t, n.errors(), 1, "reported once")
	require.ErrorIs(t, n.errors()[0], errIll)

	// When the broker is healthy, other servers know the connected sockets.
	b.well.Store(true)
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.fleet.Ready(ctx))
	other := start(t, bus.Broker(), nil)
	other.io.To("blue").Emit("from afar")
	a.until("from afar")
}

func TestStartWithBadOptions(t *testing.T) {
	n := open(t, nil, nil)
	a := n.connect(t, "/", nil)
	n.io.Emit("local")
	a.until("local")
	var option *backplane.OptionError
	require.ErrorAs(t, n.fleet.Ready(t.Context()), &option)
	require.Eventually(t, func() bool { return len(n.errors()) == 1 }, patience, time.Millisecond)
	require.Nil(t, n.fleet.Server())
	require.Error(t, n.io.ServerSideEmit("x"))
}

func TestNamespacesOfClients(t *testing.T) {
	here, there := pair(t, func() *socket.ServerOptions {
		o := socket.DefaultServerOptions()
		o.SetCleanupEmptyChildNamespaces(true)
		return o
	})
	for _, n := range []*node{here, there} {
		match := func(name string, _ map[string]any, next func(error, bool)) {
			next(nil, strings.HasPrefix(name, "/room-"))
		}
		n.io.Of(socket.ParentNspNameMatchFn(&match), nil)
	}
	for range 3 { // opened and closed repeatedly
		a, b := here.connect(t, "/room-1", nil), there.connect(t, "/room-1", nil)
		require.NoError(t, errors.Join(here.fleet.Ready(t.Context()), there.fleet.Ready(t.Context())))
		here.io.Of("/room-1", nil).Emit("hello")
		a.until("hello")
		b.until("hello")
		a.close()
		b.close()
		require.Eventually(t, func() bool {
			here.fleet.mu.Lock()
			defer here.fleet.mu.Unlock()
			return len(here.fleet.spaces) == 1
		}, patience, time.Millisecond)
	}
}

// TestWhatCannotBeSent: an event that cannot be sent to other servers is reported, and reaches local clients.
func TestWhatCannotBeSent(t *testing.T) {
	n := start(t, memorybroker.NewBus(nil).Broker(), nil, func(o *adapter.Options) {})
	a := n.connect(t, "/", nil)
	n.io.Emit("odd", make(chan int))
	n.io.Emit("end")
	a.until("end")
	require.Eventually(t, func() bool { return len(n.errors()) == 1 }, patience, time.Millisecond)
	a.socket.Join(socket.Room(strings.Repeat("x", 5000)))
	require.Eventually(t, func() bool { return len(n.errors()) == 2 }, patience, time.Millisecond)
	var name *backplane.NameError
	require.ErrorAs(t, n.errors()[1], &name)
}
