package memorybroker

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var r ring[int]
	var want []int
	for i := range 100000 {
		if grow := i / 10000 % 2; rnd.IntN(10) < 4+2*grow {
			r.push(i)
			want = append(want, i)
		} else if len(want) > 0 {
			if got := r.pop(); got != want[0] {
				t.Fatalf("popped %d, want %d", got, want[0])
			}
			want = want[1:]
		}
		if r.len() != len(want) {
			t.Fatalf("length %d, want %d", r.len(), len(want))
		}
		if len(want) == 0 {
			if r.first() != nil || r.last() != nil {
				t.Fatal("an empty ring has elements")
			}
			continue
		}
		if *r.first() != want[0] || *r.last() != want[len(want)-1] {
			t.Fatalf("from %d to %d, want %d to %d", *r.first(), *r.last(), want[0], want[len(want)-1])
		}
	}
	var all []int
	r.each(func(v *int) { all = append(all, *v) })
	if !slices.Equal(all, want) {
		t.Error("each does not visit everything in order")
	}
}

func TestRingLetsGo(t *testing.T) {
	var r ring[*int]
	for range 4 * keep {
		r.push(new(int))
	}
	for range 4 * keep {
		r.pop()
	}
	if cap(r.buf) > keep {
		t.Errorf("an empty ring holds on to room for %d", cap(r.buf))
	}
	for range keep / 2 {
		r.push(new(int))
		r.pop()
	}
	for _, p := range r.buf {
		if p != nil {
			t.Fatal("the ring holds on to what was popped")
		}
	}
}
