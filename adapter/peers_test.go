package adapter_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// bystander listens as a Node.js server does, and says nothing.
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

func idsOf(list []backplane.Peer) (out []string) {
	for _, p := range list {
		out = append(out, p.ID)
	}
	return out
}

// Go nodes by name, with what they understand; Node.js servers as a number.
func TestPeers(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		bus := memorybroker.NewBus(nil)
		a, b := newNode(t, bus, adapter.Options{Dialect: d}), newNode(t, bus, adapter.Options{Dialect: d})
		acquainted(t, a, b)
		for want := range 3 {
			p, err := a.ns.Peers(t.Context())
			ok(t, err)
			if len(p.List) != 1 || p.Foreign != want || !p.Counted || p.Total() != 2+want || len(p.Lost)+len(p.Unresponsive) != 0 {
				t.Fatalf("%+v, want %d others", p, want)
			}
			peer := p.List[0]
			if peer.ID != b.UID() || peer.Protocol != 1 || time.Since(peer.Since) > time.Minute || peer.Suspect {
				t.Errorf("%+v", peer)
			}
			equal(t, "namespaces", peer.Namespaces, []string{chat})
			equal(t, "speaks", peer.Speaks, []string{"socket.io/" + d.String()})
			n, err := a.ns.ServerCount(t.Context())
			ok(t, err)
			if n != 2+want {
				t.Errorf("%d servers, want %d", n, 2+want)
			}
			newBystander(t, bus)
		}
	})
}

// A Go node on two links is one server, also when it is gone from one of them or
// from both.
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
			slices.Sort(list)
			equal(t, what+", list", idsOf(p.List), list)
			equal(t, what+", gone", p.Lost, gone)
			n, err := both[0].ns.ServerCount(t.Context())
			ok(t, err)
			if want := 1 + len(list) + 2; p.Foreign != 2 || n != want || !p.Counted {
				t.Errorf("%s: %d servers, want %d: %+v", what, n, want, p)
			}
		}
		other := both[1].UID()
		check("all there", []string{other, new.UID(), old.UID()}, nil)
		for _, p := range must(both[0].ns.Peers(t.Context()))(t).List {
			if p.ID == other {
				equal(t, "speaks", p.Speaks, []string{"socket.io/v5", "socket.io/v6"})
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

// A broker that does not answer: what is known, and a typed error that says which.
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
		if !errors.As(err, &failed) || !errors.Is(err, context.DeadlineExceeded) || failed.Namespace != chat {
			t.Errorf("got %v", err)
		}
		if p == nil || p.Counted || p.Foreign != 1 || len(p.List) != 1 {
			t.Errorf("got %+v", p)
		}
		n, err := a.ns.ServerCount(t.Context())
		if n != 3 || !errors.As(err, &failed) {
			t.Errorf("%d, %v", n, err)
		}

		// On several links, which one.
		g := newGenerations()
		both := g.onBoth(t, opts)
		memorytest.Cut(both.broker, nil)
		defer memorytest.Heal(both.broker)
		n, err = both.ns.ServerCount(t.Context())
		var link *adapter.LinkError
		if n != 1 || !errors.As(err, &link) || link.Prefix != "v6" || !errors.As(err, &failed) {
			t.Errorf("%d, %v", n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = both.ns.ServerCount(ctx); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		ok(t, both.Close(t.Context()))
		if n, err = both.ns.ServerCount(t.Context()); n != 0 || !errors.Is(err, backplane.ErrClosed) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

func TestServerCount(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{})
	n, err := nodes[0].ns.ServerCount(t.Context())
	ok(t, err)
	if n != 3 || len(nodes[0].KnownPeers()) != 2 {
		t.Errorf("count %d, peers %v", n, nodes[0].KnownPeers())
	}
	other, err := nodes[0].Of(t.Context(), "alone")
	ok(t, err)
	if n, err = other.ServerCount(t.Context()); n != 1 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
}
