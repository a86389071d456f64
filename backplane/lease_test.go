package backplane_test

import (
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// A node knows for how long others are sure to regard it as alive: at no time does its lease
// hold when another node has forgotten it, however its link fails.
func TestLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 2, backplane.Options{}, nil)
		n, other := nodeDoor(f.nodes[0]), f.nodes[1]
		settle()
		first, _ := n.Lease()
		if !n.Holds(first) || n.Holds(time.Time{}) {
			t.Fatal("no lease after the first sign of life")
		}
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
		if !n.Holds(first) {
			t.Error("the lease has ended without a reason")
		}
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
			overlap(time.Second) // nobody minds
			fault.end()
			overlap(2 * time.Second)
			if !n.Holds(before) {
				t.Errorf("%s for 1 s: the lease has ended", fault.name)
			}
			fault.begin()
			overlap(10 * time.Second)
			if n.Holds(before) {
				t.Errorf("%s for 10 s: the lease holds", fault.name)
			}
			fault.end()
			overlap(10 * time.Second)
			since, _ := n.Lease()
			if n.Holds(before) || !n.Holds(since) {
				t.Errorf("%s, and back: no new lease", fault.name)
			}
		}
	})
}
