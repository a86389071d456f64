package natsbroker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSequences(t *testing.T) {
	var a sequences
	type step struct {
		from, seq uint64
		want      order
	}
	for i, s := range []step{
		{1, 5, inOrder}, {1, 5, duplicate}, {1, 6, inOrder}, {1, 5, duplicate}, {1, 6, duplicate},
		{2, 1, inOrder}, {2, 1, duplicate}, // another publisher
		{1, 9, inOrder}, {1, 8, overtaken}, {1, 8, duplicate}, {1, 9, duplicate}, // 8 had stayed at a server
		{1, 4, overtaken}, // older than the first that arrived
		{1, 200, inOrder}, {1, 200, duplicate}, {1, 9, overtaken}, {1, 137, overtaken}, {1, 137, duplicate},
		{1, 136, overtaken}, {1, 136, overtaken}, // too old for the window
		{1, 264, inOrder}, {1, 201, overtaken}, {1, 200, overtaken},
	} {
		got := a.check(s.from, s.seq)
		require.Equal(t, s.want, got, "step %d, message %d of %d: order", i, s.seq, s.from)
		if got != duplicate {
			a.record(s.from, s.seq)
		}
	}
}

// TestSequencesForget: the memory does not grow with the number of publishers that have left.
func TestSequencesForget(t *testing.T) {
	var a sequences
	for from := range uint64(10 * publishersKept) {
		a.record(from, 1)
		a.record(1<<40, from+1) // a publisher that stays
		require.LessOrEqual(t, len(a.now)+len(a.before), 2*publishersKept, "recorded publishers")
	}
	require.Equal(t, duplicate, a.check(1<<40, 10*publishersKept), "a recent publisher is forgotten")
	require.Equal(t, duplicate, a.check(10*publishersKept-1, 1), "a recent publisher is forgotten")
	require.Equal(t, inOrder, a.check(0, 1), "an old publisher is not forgotten")
}

// TestJumps: a number after a jump begins a new window, and the other window continues, however
// often that happens.
func TestJumps(t *testing.T) {
	const largest = 1<<64 - 1
	for _, forged := range [][]uint64{
		{largest}, {largest, largest - 5, 1 << 40}, {1 << 63, largest, 1 << 62, 5_000_000}, {2_000_000},
	} {
		var a sequences
		take := func(seq uint64, want order) {
			t.Helper()
			got := a.check(1, seq)
			require.Equal(t, want, got, "after %d: message %d: order", forged, seq)
			if got != duplicate {
				a.record(1, seq)
			}
		}
		for seq := uint64(100); seq < 110; seq++ {
			take(seq, inOrder)
			take(seq, duplicate)
		}
		for n := range uint64(50) {
			a.record(1, forged[int(n)%len(forged)])
			take(110+2*n, inOrder)
			take(110+2*n, duplicate)
			take(109+2*n+2, inOrder)
		}
	}
	// The numbers may also jump permanently, as when few messages are for this broker.
	var a sequences
	for seq := uint64(1); seq < 1<<40; seq *= 3 {
		require.Equal(t, inOrder, a.check(1, seq), "message %d: order", seq)
		a.record(1, seq)
		require.Equal(t, duplicate, a.check(1, seq), "message %d once more: order", seq)
	}
}
