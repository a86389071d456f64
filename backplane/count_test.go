package backplane_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// Who else holds a namespace: Crossroom nodes by name, others as a number.
func TestNamespacePeers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{}, nil)
		elsewhere, err := f.nodes[1].Namespace(t.Context(), "/elsewhere", nil)
		if err != nil {
			t.Fatal(err)
		}
		settle()
		f.wire("stranger")
		p, err := f.ns[0].Peers(t.Context())
		if err != nil || !p.Counted || p.Foreign != 1 || p.Total() != 4 || len(p.List) != 2 || len(p.Lost)+len(p.Unresponsive) != 0 {
			t.Fatalf("%+v, %v", p, err)
		}
		for i, peer := range p.List {
			want := []string{chat}
			if i == 0 {
				want = append(want, "/elsewhere")
			}
			equal(t, "namespaces", peer.Namespaces, want)
			equal(t, "speaks", peer.Speaks, []string{"native/1"})
			if peer.ID != f.nodes[i+1].ID() || peer.Protocol != 1 || peer.Suspect || !peer.Since.Equal(f.ns[0].Node().KnownPeers()[i].Since) || time.Since(peer.Since) > time.Minute {
				t.Errorf("%+v", peer)
			}
		}
		if p, err = elsewhere.Peers(t.Context()); err != nil || p.Total() != 1 || len(p.List) != 0 {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

func TestPeersOfABlindBroker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trioOn(t, brokerKinds[1].wrap, backplane.Options{})
		f.wire("stranger")
		p, err := f.ns[0].Peers(t.Context())
		if err != nil || p.Counted || p.Foreign != 0 || p.Total() != 3 || len(p.List) != 2 {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// The broker does not answer: what is known from before, and a typed error.
func TestPeersWhileCutOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		f.wire("stranger")
		check := func(ctx context.Context, want error, typed bool) {
			t.Helper()
			p, err := f.ns[0].Peers(ctx)
			if !errors.Is(err, want) || p == nil || p.Counted || p.Foreign != 1 || len(p.List) != 1 || p.Total() != 3 || len(p.Lost) != 0 {
				t.Errorf("%+v, %v", p, err)
			}
			if ce, ok := errors.AsType[*backplane.OpError](err); ok != typed || ok && ce.Namespace != chat {
				t.Errorf("%T", err)
			}
			n, err := f.ns[0].Count(ctx)
			if _, ok := errors.AsType[*backplane.OpError](err); n != 0 || ok != typed || !errors.Is(err, want) {
				t.Errorf("count %d, %v", n, err)
			}
		}
		if p, err := f.ns[0].Peers(t.Context()); err != nil || p.Foreign != 1 {
			t.Fatalf("%+v, %v", p, err)
		}
		memorytest.Cut(f.brokers[0], nil)
		began := time.Now()
		check(t.Context(), context.DeadlineExceeded, true)
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("two deadlines took %v", d)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		check(short, context.DeadlineExceeded, false)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		check(ended, context.Canceled, false)

		memorytest.Kill(f.brokers[0])
		check(t.Context(), broker.ErrClosed, true)
		if err := f.ns[0].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p, err := f.ns[0].Peers(t.Context()); p != nil || err != backplane.ErrClosed {
			t.Errorf("%+v, %v", p, err)
		}
	})
}

// Foreign peers as a number, and how many of them have a response channel.
func TestUnannounced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		mute := f.bus.Broker()
		if _, err := mute.Subscribe(t.Context(), f.wire("stranger"), broker.Exactly(requestsChannel)); err != nil {
			t.Fatal(err)
		}
		defer mute.Close(context.Background())
		ns := f.ns[0]
		if u, err := foreignOf(ns, t.Context()); err != nil || u != (wire.Unannounced{Total: 2, Responding: 1}) {
			t.Errorf("%+v, %v", u, err)
		}
		memorytest.Cut(f.brokers[0], nil)
		settle()
		began := time.Now()
		_, err := foreignOf(ns, t.Context())
		if _, ok := errors.AsType[*backplane.OpError](err); !ok || time.Since(began) != 0 {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
		memorytest.Heal(f.brokers[0])
		if err := ns.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := foreignOf(ns, t.Context()); err != backplane.ErrClosed {
			t.Error(err)
		}
		blind := trioOn(t, brokerKinds[1].wrap, backplane.Options{})
		blind.wire("stranger")
		if u, err := foreignOf(blind.ns[0], t.Context()); err != nil || u.Total != 0 {
			t.Errorf("%+v, %v", u, err)
		}
	})
}
