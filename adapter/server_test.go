package adapter_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

func TestOfReturnsTheSameNamespace(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
	const callers = 16
	got := make([]*adapter.Namespace, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			ns, err := n.Of(t.Context(), []string{"news", "/news"}[i%2])
			assert.NoError(t, err)
			got[i] = ns
		})
	}
	wg.Wait()
	for _, ns := range got {
		require.NotNil(t, ns, "got %v", got)
		require.Same(t, got[0], ns, "got %v", got)
	}
	root, err := n.Of(t.Context(), "")
	ok(t, err)
	assert.Equal(t, "/", root.Name())
	assert.Equal(t, "/news", got[0].Name())
	assert.Same(t, n.Server, root.Server())
	var name *backplane.NameError
	for _, bad := range []string{"/\xff", "/a,b", ",", strings.Repeat("x", broker.MaxNameLen)} {
		_, err := n.Of(t.Context(), bad)
		if assert.ErrorAs(t, err, &name, "%.20q", bad) {
			assert.Equal(t, "namespace", name.What, "%.20q", bad)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // the namespace is open
		_, err := n.Of(ended, "news")
		require.Equal(t, context.Canceled, err, "ended context")
	}
	_, err = new(adapter.Server).Of(t.Context(), "news")
	assert.Error(t, err, "a Server that New did not make: no error")
}

// A namespace that could not be opened in time is opened by the next call.
func TestOfTriesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
		memorytest.Freeze(n.broker)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := n.Of(ctx, "late"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("frozen: %v", err)
		}
		memorytest.Thaw(n.broker)
		ns, err := n.Of(t.Context(), "late")
		ok(t, err)
		s := newSocket("s")
		ok(t, ns.Add(t.Context(), s))
		ok(t, ns.Emit(t.Context(), "x"))
		s.next(t)
	})
}

func TestServerProperties(t *testing.T) {
	b := memorybroker.New(nil)
	s, err := adapter.New(b, &adapter.Options{Name: "eu-1", Dialect: adapter.V5})
	ok(t, err)
	other, err := adapter.New(memorybroker.New(nil), nil)
	ok(t, err)
	assert.NotEqual(t, other.UID(), s.UID(), "uids")
	assert.Equal(t, "eu-1", s.UID()[:4], "uids")
	if s.RequestsTimeout() != time.Second || s.Broker() != broker.Broker(b) || s.Prefix() != "" {
		t.Errorf("%v %v %q", s.RequestsTimeout(), s.Broker(), s.Prefix())
	}
	if l := s.Links(); len(l) != 1 || l[0].Dialect != adapter.V5 || l[0].Broker != broker.Broker(b) {
		t.Errorf("links %v", l)
	}
	ok(t, s.Close(t.Context()))
	ok(t, other.Close(t.Context()))
}

func TestSockets(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
	s := newSocket("s")
	ok(t, n.ns.Add(t.Context(), s))
	assert.ErrorIs(t, n.ns.Add(t.Context(), newSocket("s")), backplane.ErrMemberExists, "same id")
	var name *backplane.NameError
	for what, bad := range map[string]adapter.Socket{"nil": nil, "nil pointer": (*socket)(nil), "no id": newSocket(""), "bad id": newSocket("\xff")} {
		assert.ErrorAs(t, n.ns.Add(t.Context(), bad), &name, what)
	}
	if got, found := n.ns.Socket("s"); !found || got != adapter.Socket(s) || n.ns.Len() != 1 {
		t.Errorf("got %v, %d", got, n.ns.Len())
	}
	n.addSocket(t, &talker{socket: newSocket("talker")})
	got, found := n.ns.Socket("talker")
	require.True(t, found, "got %v", got)
	assert.Equal(t, "talker", got.ID(), "got %v", got)
	require.True(t, n.ns.Remove("s"))
	require.False(t, n.ns.Remove("s"))
	assert.False(t, n.ns.Remove("unknown"))
	_, found = n.ns.Socket("s")
	require.False(t, found, "not removed")
	assert.Nil(t, roomsOf(n.ns, "s"), "not removed")
	ok(t, n.ns.Add(t.Context(), s))
	require.Equal(t, []string{"s"}, roomsOf(n.ns, "s"), "a new start")
}

func TestClose(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	n, ctx := nodes[0], t.Context()
	ok(t, n.ns.Add(ctx, newSocket("s")))
	ok(t, n.Close(ctx))
	ok(t, n.Close(ctx))
	_, ackErr := n.ns.All().EmitWithAck(ctx, "x")
	_, clientsErr := n.ns.All().Clients(ctx)
	_, fetchErr := n.ns.All().FetchSockets(ctx)
	_, askErr := n.ns.ServerSideEmitWithAck(ctx, "x")
	_, customErr := n.ns.CustomRequest(ctx, 1)
	_, ofErr := n.Of(ctx, chat)
	_, newErr := n.Of(ctx, "new")
	for what, err := range map[string]error{
		"Emit": n.ns.Emit(ctx, "x"), "EmitWithAck": ackErr, "Clients": clientsErr, "FetchSockets": fetchErr,
		"ServerSideEmitWithAck": askErr, "CustomRequest": customErr, "Of": ofErr, "Of a new one": newErr,
		"Add": n.ns.Add(ctx, newSocket("new")), "Join": n.ns.Join(ctx, "s", "x"), "SocketsJoin": n.ns.All().SocketsJoin(ctx, "x"),
		"ServerSideEmit": n.ns.ServerSideEmit(ctx, "x"),
	} {
		assert.ErrorIs(t, err, backplane.ErrClosed, what)
	}
	// Local state is still available.
	_, err := n.ns.NewPacket("x")
	require.NoError(t, err)
	assert.Equal(t, 1, n.ns.Len())
	assert.Len(t, roomsOf(n.ns, "s"), 1)
	eventually(t, "the other knows", func() bool { return len(nodes[1].KnownPeers()) == 0 })
}

// Close waits for callbacks, including OnError. If a callback calls Close, it waits for
// itself until its context ends, and returns the error of the context.
func TestCloseInCallbacks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n *node
		closed := make(chan error, 1)
		shut := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			closed <- n.Close(ctx)
		}
		for what, callback := range map[string]func() (adapter.Options, func()){
			"OnError": func() (adapter.Options, func()) {
				return adapter.Options{OnError: func(error) { shut() }}, func() {
					n.addSocket(t, &bomb{newSocket("bomb")})
					ok(t, n.ns.Emit(t.Context(), "x"))
				}
			},
			"OnServerSideEmit": func() (adapter.Options, func()) {
				return adapter.Options{}, func() {
					_, err := n.ns.OnServerSideEmit("x", func(context.Context, *adapter.ServerEvent) { shut() })
					ok(t, err)
					e, err := adapter.NewEmitter(n.broker, &adapter.EmitterOptions{Namespace: chat})
					ok(t, err)
					ok(t, e.ServerSideEmit(t.Context(), "x"))
				}
			},
		} {
			opts, provoke := callback()
			n = newNode(t, memorybroker.NewBus(nil), opts)
			began := time.Now()
			provoke()
			err := <-closed
			assert.Equal(t, context.DeadlineExceeded, err, what)
			assert.Equal(t, time.Minute, time.Since(began), what)
			ok(t, n.Close(t.Context()))
		}
	})
}

// OnError gets the panic of a socket, and the other sockets get their packets.
func TestPanickingSocket(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	for _, n := range nodes {
		n.addSocket(t, &bomb{newSocket("bomb" + n.UID())})
	}
	s := nodes[1].add(t, "s")
	ok(t, nodes[0].ns.Emit(t.Context(), "x"))
	s.next(t)
	for _, n := range nodes {
		eventually(t, "reported", func() bool {
			return slices.ContainsFunc(n.errors.all(), func(err error) bool {
				var p *backplane.PanicError
				return errors.As(err, &p) && p.Value == "boom"
			})
		})
	}
}

type bomb struct{ *socket }

func (*bomb) Deliver(*adapter.Packet) { panic("boom") }

// Local sockets are served while the broker is down.
func TestLocalDeliveryDuringAnOutage(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	here, there := nodes[0].add(t, "here"), nodes[1].add(t, "there")
	memorytest.Cut(nodes[0].broker, errors.New("cable"))
	ok(t, nodes[0].ns.Emit(t.Context(), "x"))
	assert.Equal(t, "x", here.next(t).Event())
	eventually(t, "the outage is reported", func() bool {
		return slices.ContainsFunc(nodes[0].errors.all(), func(err error) bool {
			var e *backplane.InterruptedError
			return errors.As(err, &e) && e.Namespace == chat
		})
	})
	memorytest.Heal(nodes[0].broker)
	assert.Equal(t, "x", there.next(t).Event())
}

func TestNodeName(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	named, plain := newNode(t, bus, adapter.Options{Name: "north-1"}), newNode(t, bus, adapter.Options{})
	acquainted(t, named, plain)
	assert.Equal(t, "north-1", adapter.NodeName(plain.KnownPeers()[0].ID), "the named node's peer calls it")
	host, err := os.Hostname()
	require.NoError(t, err)
	host = regexp.MustCompile(`[^A-Za-z0-9._-]`).ReplaceAllString(host, "-")
	assert.Equal(t, host[:min(len(host), 64)], adapter.NodeName(plain.UID()), "a node without a name has that of its host")
}

func TestLocalRooms(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	nodes[0].add(t, "ada", "lobby", "garden")
	nodes[1].add(t, "bob", "kitchen")
	got := nodes[0].ns.LocalRooms()
	slices.Sort(got)
	require.Equal(t, []string{"ada", "garden", "lobby"}, got, "local rooms")
	nodes[0].ns.Remove("ada")
	require.Empty(t, nodes[0].ns.LocalRooms(), "after the last socket")
}

// A closed namespace does not exist for any server, and may be opened again.
func TestNamespaceClose(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := newNode(t, bus, adapter.Options{}), newNode(t, bus, adapter.Options{})
	acquainted(t, a, b)
	before := a.add(t, "before")
	there := b.add(t, "there")
	for range 2 {
		ok(t, a.ns.Close(t.Context()))
	}
	if n, err := b.ns.ServerCount(t.Context()); n != 1 || err != nil {
		t.Errorf("%d servers, %v", n, err)
	}
	ok(t, b.ns.Emit(t.Context(), "no subscriber"))
	assert.ErrorIs(t, a.ns.Emit(t.Context(), "x"), backplane.ErrClosed)
	assert.ErrorIs(t, a.ns.Add(t.Context(), newSocket("x")), backplane.ErrClosed)
	if _, err := a.ns.All().FetchSockets(t.Context()); !errors.Is(err, backplane.ErrClosed) {
		t.Errorf("FetchSockets: %v", err)
	}
	assert.LessOrEqual(t, len(before.packets)+len(before.ended), 0, "the socket of a closed namespace was called")

	old := a.ns
	var err error
	a.ns, err = a.Of(t.Context(), chat)
	ok(t, err)
	assert.NotSame(t, old, a.ns, "the namespace is the old one")
	assert.Zero(t, a.ns.Len(), "the namespace is the old one")
	ok(t, old.Close(t.Context())) // does not change the new one
	acquainted(t, a, b)
	after := a.add(t, "after")
	ok(t, b.ns.Emit(t.Context(), "end"))
	require.Empty(t, after.until(t, "end"), "after")
	require.Equal(t, []string{"no subscriber"}, there.until(t, "end"), "there")
}

// A call of Of for a namespace that is being closed returns a new one.
func TestOfWhileClosing(t *testing.T) {
	n := newNode(t, memorybroker.NewBus(nil), adapter.Options{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				ns, err := n.Of(t.Context(), "busy")
				if err != nil {
					t.Error(err)
					return
				}
				assert.NoError(t, ns.Close(t.Context()))
			}
		})
	}
	all.Wait()
}
