package natsbroker

import "testing"

func TestArrivals(t *testing.T) {
	var a arrivals
	type step struct {
		from, seq uint64
		want      verdict
	}
	for i, s := range []step{
		{1, 5, fresh}, {1, 5, again}, {1, 6, fresh}, {1, 5, again}, {1, 6, again},
		{2, 1, fresh}, {2, 1, again}, // another publisher
		{1, 9, fresh}, {1, 8, late}, {1, 8, again}, {1, 9, again}, // 8 was left behind
		{1, 4, late}, // from before anything was seen
		{1, 200, fresh}, {1, 200, again}, {1, 9, late}, {1, 137, late}, {1, 137, again},
		{1, 136, late}, {1, 136, late}, // too long ago to be remembered
		{1, 264, fresh}, {1, 201, late}, {1, 200, late},
	} {
		got := a.look(s.from, s.seq)
		if got != s.want {
			t.Fatalf("step %d, message %d of %d: verdict %d, want %d", i, s.seq, s.from, got, s.want)
		}
		if got != again {
			a.note(s.from, s.seq)
		}
	}
}

// Publishers come and go, and memory does not grow with those that have gone.
func TestArrivalsForget(t *testing.T) {
	var a arrivals
	for from := range uint64(10 * publishersKept) {
		a.note(from, 1)
		a.note(1<<40, from+1) // one that stays
		if n := len(a.now) + len(a.before); n > 2*publishersKept {
			t.Fatalf("%d publishers are remembered", n)
		}
	}
	if a.look(1<<40, 10*publishersKept) != again || a.look(10*publishersKept-1, 1) != again {
		t.Fatal("who published a moment ago is forgotten")
	}
	if a.look(0, 1) != fresh {
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
		var a arrivals
		take := func(seq uint64, want verdict) {
			t.Helper()
			got := a.look(1, seq)
			if got != want {
				t.Fatalf("after %d: message %d: verdict %d, want %d", forged, seq, got, want)
			}
			if got != again {
				a.note(1, seq)
			}
		}
		for seq := uint64(100); seq < 110; seq++ {
			take(seq, fresh)
			take(seq, again)
		}
		for n := range uint64(50) {
			a.note(1, forged[int(n)%len(forged)])
			take(110+2*n, fresh)
			take(110+2*n, again)
			take(109+2*n+2, fresh)
		}
	}
	// A row may also jump for good, as when little of what is published is for here.
	var a arrivals
	for seq := uint64(1); seq < 1<<40; seq *= 3 {
		if got := a.look(1, seq); got != fresh {
			t.Fatalf("message %d: verdict %d", seq, got)
		}
		a.note(1, seq)
		if got := a.look(1, seq); got != again {
			t.Fatalf("message %d once more: verdict %d", seq, got)
		}
	}
}
