package backplane_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
)

// A blocked member delays its node's requests, and requests of others to the node, but no node is
// missing because of it.
func TestQuestionsDuringAStall(t *testing.T) {
	for _, timeout := range []time.Duration{0, 200 * time.Millisecond, time.Minute} {
		for asker := range 2 {
			bubble(t, func(t *testing.T) {
				f := newFleet(t, 2, backplane.Options{RequestsTimeout: timeout}, nil)
				release := make(chan struct{})
				defer close(release)
				stuck := newSocket("stuck")
				stuck.onDeliver = func() { <-release }
				f.join(0, stuck)
				f.broadcast(1, "x", backplane.All())
				settle()
				began := time.Now()
				m, err := f.ns[asker].Members(t.Context(), backplane.All())
				require.NoError(t, err, "timeout %v, node %d", timeout, asker)
				require.Len(t, m.List, 1, "timeout %v, node %d", timeout, asker)
				assert.Len(t, m.Answered, 1, "timeout %v, node %d", timeout, asker)
				assert.LessOrEqual(t, time.Since(began), 1250*time.Millisecond, "timeout %v, node %d", timeout, asker)
				settle()
				reportedStall(t, f.errs[0])
			})
		}
	}
}

// In a process with too few processors a call takes long because its goroutine waits to run. The
// default StallTimeout allows for that, so no member misses a message. A member that is really
// blocked is found nevertheless.
func TestStallsInABusyProcess(t *testing.T) {
	f := newFleet(t, 2, backplane.Options{}, nil)
	queueing := newSocket("queueing")
	queueing.onDeliver = func() {
		for range 3 { // as if it had been preempted, or had waited for a lock
			runtime.Gosched()
		}
	}
	f.join(0, queueing)
	keepBusy(t)
	want := []string{"0", "1", "2", "3", "4"}
	for from := range 2 { // on the caller's goroutine, and by the worker
		for _, text := range want {
			f.broadcast(from, text, backplane.All())
		}
		for _, text := range want {
			require.Equal(t, text, queueing.next(t), "from node %d", from)
		}
	}
	st := f.nodes[0].Stats()
	assert.Zero(t, st.Stalls)
	assert.Zero(t, st.Skipped)
	f.errs[0].none(t)

	release := make(chan struct{})
	defer close(release)
	stuck := newSocket("stuck")
	stuck.onDeliver = func() { <-release }
	f.join(0, stuck)
	f.broadcast(1, "x", backplane.All())
	for deadline := time.Now().Add(20 * time.Second); f.nodes[0].Stats().Stalls == 0; {
		require.False(t, time.Now().After(deadline), "a stuck member was not found")
		time.Sleep(time.Millisecond) // polls a condition; nothing follows from the time
	}
}

// keepBusy makes many goroutines compete for the processors until the test ends.
func keepBusy(t *testing.T) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 16 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !stop.Load() {
				for began := time.Now(); time.Since(began) < time.Millisecond; {
				}
				runtime.Gosched()
			}
		})
	}
	t.Cleanup(func() {
		stop.Store(true)
		wg.Wait()
	})
}
