package backplane_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/wire"
)

// The holders of a namespace: Crossroom nodes by name, others as a number.
func TestNamespacePeers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{}, nil)
		elsewhere, err := f.nodes[1].Namespace(t.Context(), "/elsewhere", nil)
		require.NoError(t, err)
		settle()
		f.wire("stranger")
		p, err := f.ns[0].Peers(t.Context())
		require.NoError(t, err)
		require.True(t, p.Counted)
		require.Equal(t, 1, p.Foreign)
		require.Equal(t, 4, p.Total())
		require.Len(t, p.List, 2)
		require.Zero(t, len(p.Lost)+len(p.Unresponsive))
		for i, peer := range p.List {
			want := []string{chat}
			if i == 0 {
				want = append(want, "/elsewhere")
			}
			assert.Equal(t, want, peer.Namespaces, "namespaces")
			assert.Equal(t, []string{"native/1"}, peer.Speaks, "speaks")
			assert.Equal(t, f.nodes[i+1].ID(), peer.ID)
			assert.Equal(t, 1, peer.Protocol)
			require.False(t, peer.Suspect)
			assert.True(t, peer.Since.Equal(f.ns[0].Node().KnownPeers()[i].Since))
			assert.LessOrEqual(t, time.Since(peer.Since), time.Minute)
		}
		p, err = elsewhere.Peers(t.Context())
		require.NoError(t, err, "%+v", p)
		assert.Equal(t, 1, p.Total(), "%+v", p)
		assert.Empty(t, p.List, "%+v", p)
	})
}

func TestPeersOfABlindBroker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := trioOn(t, brokerKinds[1].wrap, backplane.Options{})
		f.wire("stranger")
		p, err := f.ns[0].Peers(t.Context())
		require.NoError(t, err)
		require.False(t, p.Counted)
		assert.Zero(t, p.Foreign)
		assert.Equal(t, 3, p.Total())
		assert.Len(t, p.List, 2)
	})
}

// The broker does not respond: the result is what was known before, and a typed error.
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
			n, err := serversOf(ctx, f.ns[0])
			_, ok := errors.AsType[*backplane.OpError](err)
			assert.ErrorIs(t, err, want)
			assert.Equal(t, 3, n)
			assert.Equal(t, typed, ok)
		}
		p, err := f.ns[0].Peers(t.Context())
		require.NoError(t, err, "%+v", p)
		require.Equal(t, 1, p.Foreign, "%+v", p)
		memorytest.Cut(f.brokers[0], nil)
		began := time.Now()
		check(t.Context(), context.DeadlineExceeded, true)
		assert.Equal(t, 2*time.Second, time.Since(began), "two deadlines")
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		check(short, context.DeadlineExceeded, false)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		check(ended, context.Canceled, false)

		memorytest.Kill(f.brokers[0])
		check(t.Context(), broker.ErrClosed, true)
		require.NoError(t, f.ns[0].Close(t.Context()))
		p, err = f.ns[0].Peers(t.Context())
		assert.Nil(t, p)
		assert.Equal(t, backplane.ErrClosed, err)
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
		_, ok := errors.AsType[*backplane.OpError](err)
		assert.True(t, ok, "%v", err)
		assert.Zero(t, time.Since(began), "%v", err)
		memorytest.Heal(f.brokers[0])
		require.NoError(t, ns.Close(t.Context()))
		_, err = foreignOf(ns, t.Context())
		assert.Equal(t, backplane.ErrClosed, err)
		blind := trioOn(t, brokerKinds[1].wrap, backplane.Options{})
		blind.wire("stranger")
		u, err := foreignOf(blind.ns[0], t.Context())
		require.NoError(t, err, "%+v", u)
		assert.Zero(t, u.Total, "%+v", u)
	})
}
