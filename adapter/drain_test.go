package adapter_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// TestDrain: a server on two links drains. The other servers know that, on each link.
func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		both, modern, old := newGenerations().mixed(t, adapter.Options{OnError: func(error) {}})
		n := both[0]
		for i := range 100 {
			n.add(t, fmt.Sprint("s", i))
		}
		var got []string
		began := time.Now()
		require.NoError(t, n.Drain(t.Context(), 10, func(ns *adapter.Namespace, s adapter.Socket) {
			assert.Equal(t, chat, ns.Name())
			assert.True(t, ns.Remove(s.ID()))
			if got = append(got, s.ID()); len(got) == 50 {
				for _, other := range []*node{both[1], modern, old} {
					leaving := 0
					for _, p := range other.KnownPeers() {
						if p.Leaving {
							leaving++
							assert.Equal(t, n.UID(), p.ID)
						}
					}
					assert.Equal(t, 1, leaving)
				}
				assert.False(t, n.Health().Ready)
				assert.ErrorIs(t, n.Ready(t.Context()), backplane.ErrClosed)
				panic("rude")
			}
		}))
		assert.Len(t, got, 100)
		assert.InDelta(t, 10*time.Second, time.Since(began), float64(2*time.Second))
		assert.ErrorIs(t, n.Drain(t.Context(), 10, func(*adapter.Namespace, adapter.Socket) {}), backplane.ErrClosed)
		var bad *backplane.OptionError
		assert.ErrorAs(t, both[1].Drain(t.Context(), 0, nil), &bad)
		assert.ErrorContains(t, both[1].Drain(t.Context(), 1, nil), "adapter: ")
	})
}
