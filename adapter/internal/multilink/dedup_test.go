package multilink

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWindow(t *testing.T) {
	var w runs
	step := func(n uint64, want bool) {
		t.Helper()
		require.Equal(t, want, w.fresh(n), "fresh: %d", n)
	}
	step(5, true)
	step(5, false)
	step(3, true) // out of order
	step(3, false)
	step(4, true)
	step(5+windowSize-1, true)
	step(5, false) // the last number of the window
	step(6, true)
	step(5+windowSize, true)
	step(5, false)    // before the window
	step(7, true)     // in the window, not seen
	step(1<<40, true) // far ahead: another run
	step(1<<40, false)
	step(1<<40+windowSize, true)
	step(1<<40, false)        // before the window
	step(6+windowSize, true)  // the old run continues
	step(5+windowSize, false) // and its window too
	step(6, false)
}

// A party that may publish can forge the mark of another server. One forged number, whatever it
// is, does not mute that server, nor has it messages delivered twice.
func TestForgedNumbersDoNotMute(t *testing.T) {
	const last = 1<<64 - 1
	for _, forged := range [][]uint64{
		{last}, {last - 1, last}, {last, last - 1}, {1 << 63}, {1000 + windowSize}, {1000 + windowSize - 1}, {999 + 2*windowSize},
		{1 << 20, 1 << 40, 1 << 50, 1 << 60, last}, {last, last - windowSize, last - 2*windowSize, last - 3*windowSize, last - 4*windowSize},
	} {
		for _, known := range []bool{true, false} { // before the forged ones came
			var w runs
			for n := uint64(1); n <= 1000 && known; n++ {
				w.fresh(n)
			}
			for _, n := range forged {
				w.fresh(n)
				assert.False(t, w.fresh(n), "%d is fresh twice", n)
			}
			for n := uint64(1001); n < 10_000; n++ {
				if slices.Contains(forged, n) {
					continue
				}
				require.True(t, w.fresh(n), "known %v: %d is not fresh after %d", known, n, forged)
				require.False(t, w.fresh(n), "known %v: %d is fresh twice after %d", known, n, forged)
			}
		}
	}
}

// Several forged numbers, each within the window ahead of the one before, do not mute a server
// either, nor does a steady stream of them.
func TestForgedStepsDoNotMute(t *testing.T) {
	for _, steps := range [][]uint64{
		{windowSize - 1, windowSize - 1}, {windowSize - 1, windowSize - 1, windowSize - 1, windowSize - 1, 1},
		slices.Repeat([]uint64{100}, 200), slices.Repeat([]uint64{windowSize / 2}, 20),
	} {
		var w runs
		own := uint64(1000) // the number of the server's last message
		for n := uint64(1); n <= own; n++ {
			w.fresh(n)
		}
		forged := map[uint64]bool{}
		at := own
		for _, step := range steps {
			at += step
			forged[at] = true
			w.fresh(at)
			own++ // at the same time
			if !w.fresh(own) {
				require.True(t, forged[own], "%d is not fresh after %d", own, at)
			}
		}
		for range 5 * windowSize {
			own++
			if !w.fresh(own) {
				require.True(t, forged[own], "%d is not fresh after %d", own, at)
			}
			if w.fresh(own) {
				require.Fail(t, "fresh twice", "%d after %d", own, at)
			}
			if own > windowSize/2 && w.fresh(own-windowSize/2) {
				require.Fail(t, "a copy over another link is fresh", "%d after %d", own-windowSize/2, at)
			}
		}
	}
}

// A message that was missed in an outage arrives late over another link. It is fresh once.
func TestRunsAfterOutages(t *testing.T) {
	var w runs
	step := func(n uint64, want bool) {
		t.Helper()
		require.Equal(t, want, w.fresh(n), "fresh: %d", n)
	}
	const gap = 10 * windowSize
	for n := uint64(1); n <= 100; n++ {
		step(n, true)
	}
	for n := uint64(gap); n < 2*gap; n++ { // on one link
		step(n, true)
	}
	for n := uint64(1); n < 2*gap; n++ { // on the other one
		step(n, n > 100 && n < gap)
	}
	step(2*gap, true)
}

// The window is compared with a set that remembers everything, for numbers within the window.
func TestWindowLikeASet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var w runs
	seen := map[uint64]bool{}
	var top uint64
	for range 30_000 {
		n := top + random.Uint64N(windowSize/2)
		if back := random.Uint64N(windowSize / 2); back < n {
			n -= back
		}
		if n == 0 || n+windowSize <= top {
			continue
		}
		require.NotEqual(t, seen[n], w.fresh(n), "fresh: %d", n)
		seen[n] = true
		top = max(top, n)
	}
}

func TestMarks(t *testing.T) {
	var sender, r Dedup
	for range 3 {
		mark := sender.Mark("name~with:colon")
		require.True(t, r.Fresh(mark))
		require.False(t, r.Fresh(mark))
	}
	for _, bad := range []string{"", ":", "x", "x:", "x:0", "x:-1", "x:1e3", "x:18446744073709551616"} {
		assert.False(t, r.Fresh(bad), "%q is fresh", bad)
	}
}

// The number of remembered origins is limited, and the latest origins are among them.
func TestMarksAreBounded(t *testing.T) {
	var r Dedup
	for i := range 5 * relayOrigins {
		require.True(t, r.Fresh(fmt.Sprintf("o%d:1", i)), "origin %d", i)
		require.True(t, r.Fresh(fmt.Sprintf("busy:%d", i+1)), "busy origin at %d", i)
		require.False(t, r.Fresh(fmt.Sprintf("busy:%d", i+1)), "busy origin at %d", i)
		require.LessOrEqual(t, len(r.now)+len(r.old), 2*relayOrigins, "origins remembered")
	}
}
