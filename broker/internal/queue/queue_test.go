package queue_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker/internal/queue"
)

// TestAgainstSlice compares a queue with a slice under random operations.
func TestAgainstSlice(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var q queue.FIFO[int]
	var want []int
	for i := range 200_000 {
		grow := i / 10_000 % 2 // the queue grows and shrinks
		switch n := rnd.IntN(1000); {
		case n < 350+250*grow:
			q.Push(i)
			want = append(want, i)
		case n < 400+250*grow:
			q.PushFront(i)
			want = slices.Insert(want, 0, i)
		case n < 999 && len(want) == 0:
		case n < 950:
			require.Equal(t, want[0], q.Pop(), "popped")
			want = want[1:]
		case n < 999:
			require.Equal(t, want[len(want)-1], q.PopBack(), "popped from the back")
			want = want[:len(want)-1]
		default:
			odd := func(v *int) bool { return *v%2 == 1 }
			q.Keep(odd)
			want = slices.DeleteFunc(want, func(v int) bool { return !odd(&v) })
		}
		require.Equal(t, len(want), q.Len(), "length")
		if len(want) > 0 && (*q.Front() != want[0] || *q.Back() != want[len(want)-1]) {
			t.Fatalf("from %d to %d, want %d to %d", *q.Front(), *q.Back(), want[0], want[len(want)-1])
		}
		if len(want) > 0 {
			at := rnd.IntN(len(want))
			require.Equal(t, want[at], *q.At(at))
		}
	}
}

// TestLetsGo: removed items can be collected, although the queue keeps its memory.
func TestLetsGo(t *testing.T) {
	const each = 100
	var q queue.FIFO[*[64]byte]
	gone := make(chan struct{}, 3*each)
	push := func() {
		v := new([64]byte)
		runtime.AddCleanup(v, func(int) { gone <- struct{}{} }, 0)
		q.Push(v)
	}
	for range 3*each + 1 {
		push()
	}
	for range each {
		q.Pop()
		q.PopBack()
	}
	n := 0
	q.Keep(func(**[64]byte) bool { n++; return n > each })
	runtime.GC()
	for range 3 * each {
		<-gone
	}
	require.Equal(t, 1, q.Len(), "items are left")
}
