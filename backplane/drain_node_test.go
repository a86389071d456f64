package backplane_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
)

// drained records the members that Drain hands over, and when.
type drained struct {
	ids []string
	at  []time.Time
}

func (d *drained) hand(ns *backplane.Namespace, m backplane.Member) {
	d.ids = append(d.ids, m.ID())
	d.at = append(d.at, time.Now())
	ns.Remove(m.ID())
}

func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const members, perSecond = 1000, 100
		f := newFleet(t, 2, backplane.Options{}, nil)
		n, other := f.nodes[0], f.nodes[1]
		for i := range members {
			f.socket(0, fmt.Sprint("m", i))
		}
		for i := range 10 {
			f.socket(1, fmt.Sprint("o", i))
		}
		require.NoError(t, n.Ready(t.Context()))
		var d drained
		began, seen := time.Now(), 0
		require.NoError(t, n.Drain(t.Context(), perSecond, func(ns *backplane.Namespace, m backplane.Member) {
			d.hand(ns, m)
			if len(d.ids) == members/2 {
				settle()
				peers := other.KnownPeers()
				require.Len(t, peers, 1)
				assert.True(t, peers[0].Leaving)
				assert.Equal(t, []string{chat}, peers[0].Namespaces)
				h := n.Health()
				assert.True(t, h.Subscribed.Up && h.Publishing.Up && !h.Ready, "%+v", h)
				assert.ErrorIs(t, n.Ready(t.Context()), backplane.ErrClosed)
				assert.ErrorIs(t, n.Drain(t.Context(), 1, d.hand), backplane.ErrClosed, "a second time")
				list, err := f.ns[1].Members(t.Context(), backplane.All())
				assert.NoError(t, err)
				seen = len(list.List)
				f.socket(0, "late")
			}
		}))
		took := time.Since(began)
		assert.Equal(t, members/2+10, seen, "members that the other node lists in the middle")
		assert.Len(t, d.ids, members+1)
		assert.Contains(t, d.ids, "late")
		want := time.Duration(members) * time.Second / perSecond
		assert.InDelta(t, want, took, float64(want)/10)
		shortest, longest := time.Hour, time.Duration(0)
		for i := range d.at[1:] {
			gap := d.at[i+1].Sub(d.at[i])
			shortest, longest = min(shortest, gap), max(longest, gap)
		}
		assert.Less(t, shortest, 7*time.Second/perSecond/10)
		assert.Greater(t, longest, 13*time.Second/perSecond/10)
		settle()
		assert.Empty(t, other.KnownPeers())
		assert.ErrorIs(t, n.Drain(t.Context(), 1, d.hand), backplane.ErrClosed, "after Close")
	})
}

// TestDrainIsKnownToLaterNodes: a node that joins while another one drains knows that it drains.
func TestDrainIsKnownToLaterNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		f.socket(0, "stays")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- f.nodes[0].Drain(ctx, 100, func(*backplane.Namespace, backplane.Member) {}) }()
		settle()
		f.add(&backplane.Options{Name: "later"}, nil)
		peers, err := f.nodes[1].AwaitPeers(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, peers, 1)
		assert.True(t, peers[0].Leaving)
		assert.Equal(t, context.DeadlineExceeded, <-done, "a member is left")
		settle()
		assert.Empty(t, f.nodes[1].KnownPeers(), "it has left")
	})
}

func TestDrainThatCannotBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 3, backplane.Options{}, nil)
		hand := func(*backplane.Namespace, backplane.Member) {}
		for _, rate := range []float64{0, -1, math.NaN()} {
			var bad *backplane.OptionError
			assert.ErrorAs(t, f.nodes[0].Drain(t.Context(), rate, hand), &bad, "%v", rate)
		}
		var bad *backplane.OptionError
		assert.ErrorAs(t, f.nodes[0].Drain(t.Context(), 1, nil), &bad)
		assert.False(t, f.nodes[1].KnownPeers()[0].Leaving, "after an error nothing has begun")

		// An ended context closes the node.
		f.socket(0, "left")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Equal(t, context.Canceled, f.nodes[0].Drain(ended, 1, hand))
		assert.ErrorIs(t, f.ns[0].Join(t.Context(), "left", "room"), backplane.ErrClosed)

		// A hand that panics is reported, and the other members are handed over.
		f.socket(1, "one")
		f.socket(1, "two")
		calls := 0
		require.NoError(t, f.nodes[1].Drain(t.Context(), math.Inf(1), func(ns *backplane.Namespace, m backplane.Member) {
			ns.Remove(m.ID())
			calls++
			panic("rude")
		}))
		assert.Equal(t, 2, calls)
		assert.EqualValues(t, 2, f.nodes[1].Stats().Panics)

		// Close ends a Drain.
		f.socket(2, "three")
		done := make(chan error, 1)
		go func() { done <- f.nodes[2].Drain(t.Context(), 1, hand) }()
		settle()
		require.NoError(t, f.nodes[2].Close(t.Context()))
		assert.ErrorIs(t, <-done, backplane.ErrClosed)
	})
}
