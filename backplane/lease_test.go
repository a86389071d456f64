package backplane_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// A node knows until when others regard it as live: its lease never holds when another node has
// forgotten it, however its link fails.
func TestLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		n, other := nodeDoor(f.nodes[0]), f.nodes[1]
		settle()
		first, _ := n.Lease()
		require.True(t, n.Holds(first), "no lease after the first sign of life")
		require.False(t, n.Holds(time.Time{}), "no lease after the first sign of life")
		overlap := func(d time.Duration) {
			t.Helper()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				since, _ := n.Lease()
				if n.Holds(since) && len(other.KnownPeers()) == 0 {
					t.Fatal("the lease holds, and the other node has forgotten this one")
				}
			}
		}
		overlap(20 * time.Second)
		assert.True(t, n.Holds(first), "the lease has ended without a reason")
		b := f.brokers[0]
		for _, fault := range []struct {
			name       string
			begin, end func()
		}{
			{"frozen", func() { memorytest.Freeze(b) }, func() { memorytest.Thaw(b) }},
			{"cut", func() { memorytest.Cut(b, nil) }, func() { memorytest.Heal(b) }},
		} {
			before, _ := n.Lease()
			fault.begin()
			overlap(time.Second) // allowed
			fault.end()
			overlap(2 * time.Second)
			assert.True(t, n.Holds(before), "%s for 1 s: the lease has ended", fault.name)
			fault.begin()
			overlap(10 * time.Second)
			assert.False(t, n.Holds(before), "%s for 10 s: the lease holds", fault.name)
			fault.end()
			overlap(10 * time.Second)
			since, _ := n.Lease()
			if assert.False(t, n.Holds(before), "%s, and back: no new lease", fault.name) {
				assert.True(t, n.Holds(since), "%s, and back: no new lease", fault.name)
			}
		}
	})
}
