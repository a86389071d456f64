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
