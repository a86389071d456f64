package outgoing_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/outgoing"
)

// TestManyPushers checks order and accounting under all policies, with early Close calls and broken connections.
func TestManyPushers(t *testing.T) {
	const pushers, each = 8, 400
	for round := range 60 {
		policy := outgoing.Policy(round % 3)
		var breaks int
		if round%4 == 3 {
			breaks = 1 + rand.IntN(200)
		}
		var overlap, calls atomic.Int32
		var got [][2]int
		write := func(batch [][2]int) error {
			assert.EqualValues(t, 1, overlap.Add(1), "two writes at once")
			defer overlap.Add(-1)
			if calls.Add(1) == int32(breaks) {
				return errBroken
			}
			got = append(got, batch...)
			if len(got)%7 == 0 {
				runtime.Gosched()
			}
			return nil
		}
		ended := make(chan error, 2)
		q := outgoing.New(write, func(err error) { ended <- err }, &outgoing.Options{MaxMessages: 100, WhenFull: policy})
		var wg sync.WaitGroup
		var refused atomic.Int64
		for p := range pushers {
			wg.Go(func() {
				for i := range each {
					if !q.Push([2]int{p, i}, i%50, i%5 == 0) {
						refused.Add(1)
					}
				}
			})
		}
		closeEarly := round%2 == 0
		if closeEarly {
			runtime.Gosched()
			wg.Go(func() { q.Close(context.Background()) })
		}
		wg.Wait()
		err := q.Close(context.Background())
		<-q.Done()
		unsent := 0
		if err != nil {
			var e *outgoing.Error
			reason := <-ended
			require.Same(t, err, reason, "disconnected")
			require.ErrorAs(t, err, &e)
			unsent = e.Messages
		}
		s := q.Stats()
		if err == nil {
			require.Equal(t, len(got), int(s.Written))
		} else { // the batch being written at the end counts as unsent
			require.LessOrEqual(t, int(s.Written), len(got))
			require.LessOrEqual(t, len(got), int(s.Written)+unsent)
		}
		require.Zero(t, s.Messages)
		require.Zero(t, s.Bytes)
		accounted := int(s.Written+s.Dropped+s.DroppedVolatile) + unsent
		if accounted > pushers*each || err == nil && !closeEarly && accounted != pushers*each {
			t.Fatalf("%+v and %d unsent, of %d", s, unsent, pushers*each)
		}
		if policy != outgoing.DropOldest && err == nil && len(got)+int(refused.Load()) > pushers*each {
			t.Fatalf("%d written, %d refused, of %d", len(got), refused.Load(), pushers*each)
		}
		var last [pushers]int
		for _, m := range got {
			require.GreaterOrEqual(t, m[1], last[m[0]], "message %d of pusher %d after %d", m[1], m[0], last[m[0]])
			last[m[0]] = m[1] + 1
		}
	}
}

// TestNothingIsForgotten requires that a push to a writer about to end starts another one.
func TestNothingIsForgotten(t *testing.T) {
	written := make(chan int)
	q := outgoing.New(func(batch []int) error {
		for _, n := range batch {
			written <- n
		}
		return nil
	}, func(err error) { t.Error(err) }, nil)
	for i := range 20_000 {
		q.Push(i, 1, false)
		select {
		case n := <-written:
			require.Equal(t, i, n)
		case <-time.After(10 * time.Second):
			t.Fatalf("message %d was never written", i)
		}
	}
	require.NoError(t, q.Close(t.Context()))
}
