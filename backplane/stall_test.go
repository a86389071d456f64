package backplane_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

// A member that blocks delays its node's questions, and others' questions to the
// node, but nobody is missing for that.
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
				if err != nil || len(m.List) != 1 || len(m.Answered) != 1 {
					t.Errorf("timeout %v, node %d: %v, %+v", timeout, asker, err, m)
				}
				if d := time.Since(began); d > 1250*time.Millisecond {
					t.Errorf("timeout %v, node %d: took %v", timeout, asker, d)
				}
				settle()
				reported[*backplane.StalledError](t, f.errs[0])
			})
		}
	}
}

// In a process that has too few processors a call takes long because its goroutine has
// to queue up. The default StallTimeout leaves time for that, so that it costs no member
// a message. One that is stuck is found nevertheless.
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
			if got := queueing.next(t); got != text {
				t.Fatalf("from node %d came %s, want %s", from, got, text)
			}
		}
	}
	if st := f.nodes[0].Stats(); st.Stalls != 0 || st.Skipped != 0 {
		t.Errorf("stats %+v", st)
	}
	f.errs[0].none(t)

	release := make(chan struct{})
	defer close(release)
	stuck := newSocket("stuck")
	stuck.onDeliver = func() { <-release }
	f.join(0, stuck)
	f.broadcast(1, "x", backplane.All())
	for deadline := time.Now().Add(20 * time.Second); f.nodes[0].Stats().Stalls == 0; {
		if time.Now().After(deadline) {
			t.Fatal("a stuck member was not found")
		}
		time.Sleep(time.Millisecond) // polls a condition; nothing follows from the time
	}
}

// keepBusy has many goroutines compete for the processors until the test ends.
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
