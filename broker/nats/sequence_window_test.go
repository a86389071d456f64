package natsbroker

import "testing"

func TestArrivals(t *testing.T) {
	var a sequences
	type step struct {
		from, seq uint64
		want      order
	}
	for i, s := range []step{
		{1, 5, inOrder}, {1, 5, duplicate}, {1, 6, inOrder}, {1, 5, duplicate}, {1, 6, duplicate},
		{2, 1, inOrder}, {2, 1, duplicate}, // another publisher
		{1, 9, inOrder}, {1, 8, overtaken}, {1, 8, duplicate}, {1, 9, duplicate}, // 8 was left behind
		{1, 4, overtaken}, // from before anything was seen
		{1, 200, inOrder}, {1, 200, duplicate}, {1, 9, overtaken}, {1, 137, overtaken}, {1, 137, duplicate},
		{1, 136, overtaken}, {1, 136, overtaken}, // too long ago to be remembered
		{1, 264, inOrder}, {1, 201, overtaken}, {1, 200, overtaken},
	} {
		got := a.check(s.from, s.seq)
		if got != s.want {
			t.Fatalf("step %d, message %d of %d: verdict %d, want %d", i, s.seq, s.from, got, s.want)
		}
		if got != duplicate {
			a.record(s.from, s.seq)
		}
	}
}

// Publishers come and go, and memory does not grow with those that have gone.
func TestArrivalsForget(t *testing.T) {
	var a sequences
	for from := range uint64(10 * publishersKept) {
		a.record(from, 1)
		a.record(1<<40, from+1) // one that stays
		if n := len(a.now) + len(a.before); n > 2*publishersKept {
			t.Fatalf("%d publishers are remembered", n)
		}
	}
	if a.check(1<<40, 10*publishersKept) != duplicate || a.check(10*publishersKept-1, 1) != duplicate {
		t.Fatal("who published a moment ago is forgotten")
	}
	if a.check(0, 1) != inOrder {
		t.Fatal("who published long ago is remembered")
	}
}

// TestJumps: numbers that jump begin a row of their own, and the other one goes on, however
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
			if got != want {
				t.Fatalf("after %d: message %d: verdict %d, want %d", forged, seq, got, want)
			}
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
	// A row may also jump for good, as when little of what is published is for here.
	var a sequences
	for seq := uint64(1); seq < 1<<40; seq *= 3 {
		if got := a.check(1, seq); got != inOrder {
			t.Fatalf("message %d: verdict %d", seq, got)
		}
		a.record(1, seq)
		if got := a.check(1, seq); got != duplicate {
			t.Fatalf("message %d once more: verdict %d", seq, got)
		}
	}
}
