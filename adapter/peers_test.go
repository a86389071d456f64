package adapter_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// bystander subscribes like a Node.js server, and sends nothing.
type bystander struct{}

func (bystander) Deliver(broker.Channel, []byte) {}
func (bystander) Interrupted(error)              {}
func (bystander) Resumed()                       {}

func newBystander(t testing.TB, bus *memorybroker.Bus) *memorybroker.Broker {
	t.Helper()
	b := bus.Broker()
	_, err := b.Subscribe(t.Context(), bystander{}, broker.Exactly(broker.SocketIO.Requests(chat)), broker.SocketIO.EveryRoom(chat))
	ok(t, err)
	t.Cleanup(func() { ok(t, b.Close(context.Background())) })
	return b
}

func idsOf(list []observe.Peer) (out []string) {
	for _, p := range list {
		out = append(out, p.ID)
	}
	return out
}

// Go nodes are listed by name with their dialects, Node.js servers are counted.
func TestPeers(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		bus := memorybroker.NewBus(nil)
		a, b := newNode(t, bus, adapter.Options{Dialect: d}), newNode(t, bus, adapter.Options{Dialect: d})
		acquainted(t, a, b)
		for want := range 3 {
			p, err := a.ns.Peers(t.Context())
			ok(t, err)
			require.Len(t, p.List, 1)
			require.Equal(t, want, p.Foreign)
			require.True(t, p.Counted)
			require.Equal(t, 2+want, p.Total())
			require.Zero(t, len(p.Lost)+len(p.Unresponsive))
			peer := p.List[0]
			assert.Equal(t, b.UID(), peer.ID)
			assert.Equal(t, 1, peer.Protocol)
			assert.LessOrEqual(t, time.Since(peer.Since), time.Minute)
			assert.False(t, peer.Suspect)
			require.Equal(t, []string{chat}, peer.Namespaces, "namespaces")
			require.Equal(t, []string{"socket.io/" + d.String()}, peer.Speaks, "speaks")
			n, err := a.ns.ServerCount(t.Context())
			ok(t, err)
			assert.Equal(t, 2+want, n, "servers")
			newBystander(t, bus)
		}
	})
}

// A Go node on two links is one server, also if it was lost on one of them or on both.
func TestPeersOverLinks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGenerations()
		both, new, old := g.mixed(t, adapter.Options{Heartbeat: time.Minute, PeerTimeout: time.Hour})
		newBystander(t, g.v6)
		newBystander(t, g.v5)
		check := func(what string, list, gone []string) {
			t.Helper()
			p, err := both[0].ns.Peers(t.Context())
			ok(t, err)
			require.ElementsMatch(t, list, idsOf(p.List), what+", list")
			require.ElementsMatch(t, gone, p.Lost, what+", lost")
			n, err := both[0].ns.ServerCount(t.Context())
			ok(t, err)
			want := 1 + len(list) + 2
			assert.Equal(t, 2, p.Foreign, "%s: %+v", what, p)
			assert.Equal(t, want, n, "%s: %+v", what, p)
			assert.True(t, p.Counted, "%s: %+v", what, p)
		}
		other := both[1].UID()
		check("all there", []string{other, new.UID(), old.UID()}, nil)
		for _, p := range must(both[0].ns.Peers(t.Context()))(t).List {
			if p.ID == other {
				require.Equal(t, []string{"socket.io/v5", "socket.io/v6"}, p.Speaks, "speaks")
			}
		}
		memorytest.Cut(both[1].broker, nil)
		check("away on one link", []string{other, new.UID(), old.UID()}, nil)
		v5 := both[1].Links()[1].Broker.(*memorybroker.Broker)
		memorytest.Cut(v5, nil)
		check("away on both", []string{new.UID(), old.UID()}, []string{other})
		memorytest.Heal(both[1].broker)
		memorytest.Heal(v5)
		check("back", []string{other, new.UID(), old.UID()}, nil)
	})
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// If a broker does not respond, Peers returns what is known and a typed error that names the link.
func TestPeersWithoutTheBroker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		opts := adapter.Options{RequestsTimeout: 100 * time.Millisecond, Heartbeat: time.Minute, PeerTimeout: time.Hour}
		a, b := newNode(t, bus, opts), newNode(t, bus, opts)
		acquainted(t, a, b)
		newBystander(t, bus)
		if p := must(a.ns.Peers(t.Context()))(t); p.Foreign != 1 {
			t.Fatalf("%+v", p)
		}
		memorytest.Cut(a.broker, nil)
		defer memorytest.Heal(a.broker)
		p, err := a.ns.Peers(t.Context())
		var failed *backplane.OpError
		require.ErrorAs(t, err, &failed)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, chat, failed.Namespace)
		require.NotNil(t, p)
		require.False(t, p.Counted)
		assert.Equal(t, 1, p.Foreign)
		assert.Len(t, p.List, 1)
		n, err := a.ns.ServerCount(t.Context())
		assert.Equal(t, 3, n)
		assert.ErrorAs(t, err, &failed)

		// On several links the error names the link.
		g := newGenerations()
		both := g.onBoth(t, opts)
		memorytest.Cut(both.broker, nil)
		defer memorytest.Heal(both.broker)
		n, err = both.ns.ServerCount(t.Context())
		var link *adapter.LinkError
		assert.Equal(t, 1, n)
		require.ErrorAs(t, err, &link)
		assert.Equal(t, "v6", link.Prefix)
		assert.ErrorAs(t, err, &failed)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = both.ns.ServerCount(ctx)
		assert.Equal(t, context.Canceled, err)
		ok(t, both.Close(t.Context()))
		n, err = both.ns.ServerCount(t.Context())
		assert.Zero(t, n)
		assert.ErrorIs(t, err, backplane.ErrClosed)
	})
}

func TestServerCount(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{})
	n, err := nodes[0].ns.ServerCount(t.Context())
	ok(t, err)
	assert.Equal(t, 3, n, "count")
	assert.Len(t, nodes[0].KnownPeers(), 2, "count")
	other, err := nodes[0].Of(t.Context(), "alone")
	ok(t, err)
	n, err = other.ServerCount(t.Context())
	assert.Equal(t, 1, n)
	assert.NoError(t, err)
}
