package adapter

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestWindow(t *testing.T) {
	var w window
	step := func(n uint64, want bool) {
		t.Helper()
		if got := w.fresh(n); got != want {
			t.Fatalf("%d: fresh is %v, want %v", n, got, want)
		}
	}
	step(5, true)
	step(5, false)
	step(3, true) // overtaken
	step(3, false)
	step(4, true)
	step(5+windowSize-1, true)
	step(5, false) // at the window's end, still remembered
	step(6, true)
	step(5+windowSize, true)
	step(5, false)      // too old to know
	step(7, true)       // in the window, not seen
	step(1<<40, true)   // far ahead: nothing of the old window is left
	step(1<<40-1, true) //
	step(1<<40-windowSize, false)
	step(1<<40-windowSize+1, true)
}

// Against a set that remembers everything, for numbers that do not fall far behind.
func TestWindowLikeASet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var w window
	seen := map[uint64]bool{}
	var top uint64
	for range 100_000 {
		n := top + random.Uint64N(windowSize/2)
		if back := random.Uint64N(windowSize / 2); back < n {
			n -= back
		}
		if n == 0 || n+windowSize <= top {
			continue
		}
		if got := w.fresh(n); got == seen[n] {
			t.Fatalf("%d: fresh is %v", n, got)
		}
		seen[n] = true
		top = max(top, n)
	}
}

func TestMarks(t *testing.T) {
	var sender, r relays
	for range 3 {
		mark := sender.mark("name~with:colon")
		if !r.fresh(mark) || r.fresh(mark) {
			t.Fatalf("%s", mark)
		}
	}
	for _, bad := range []string{"", ":", "x", "x:", "x:0", "x:-1", "x:1e3", "x:18446744073709551616"} {
		if r.fresh(bad) {
			t.Errorf("%q is fresh", bad)
		}
	}
}

// However many origins turn up, only so many are remembered, and the latest surely.
func TestMarksAreBounded(t *testing.T) {
	var r relays
	for i := range 5 * relayOrigins {
		if !r.fresh(fmt.Sprintf("o%d:1", i)) {
			t.Fatalf("origin %d", i)
		}
		if !r.fresh(fmt.Sprintf("busy:%d", i+1)) || r.fresh(fmt.Sprintf("busy:%d", i+1)) {
			t.Fatalf("busy origin at %d", i)
		}
		if n := len(r.now) + len(r.old); n > 2*relayOrigins {
			t.Fatalf("%d origins remembered", n)
		}
	}
}
