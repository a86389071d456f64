package brokerkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
)

// books is an accounting with its mutex, and calls that lock it.
type books struct {
	mu sync.Mutex
	l  accounting
}

func keep(messages, bytes int) *books {
	b := &books{}
	b.l = newAccounting(&b.mu, messages, bytes, func() {})
	return b
}

// one is a message with that payload, and 10 more bytes on the wire.
func one(payload int) Size { return Size{Payload: payload, Wire: payload + 10} }

func (b *books) put(ctx context.Context, sizes ...int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range sizes {
		if err := b.l.admit(ctx, one(n)); err != nil {
			return err
		}
		b.l.accept(one(n))
	}
	return nil
}

func (b *books) sent(sizes ...int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range sizes {
		b.l.sent(one(n))
	}
	b.l.notify()
}

func (b *books) lose(uncertain bool, err error, sizes ...int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range sizes {
		b.l.lose(one(n), uncertain, err)
	}
	b.l.notify()
}

func (b *books) barrier(t *testing.T) *barrier {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.l.addBarrier()
}

func (b *books) stats() (s broker.Stats) {
	b.l.fill(&s)
	return s
}

// must adds messages for which there is room.
func (b *books) must(t *testing.T, sizes ...int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, b.put(ctx, sizes...))
}

func wantLoss(t *testing.T, got error, want broker.Loss) {
	t.Helper()
	var loss *broker.LossError
	require.ErrorAs(t, got, &loss)
	require.Equal(t, want, loss.Loss)
}

var errA, errB = errors.New("a"), errors.New("b")

func TestStats(t *testing.T) {
	b := keep(100, 10000)
	b.must(t, 1, 2, 3, 4, 5, 6)
	b.sent(1)
	b.lose(false, errA, 2)
	b.lose(true, errA, 3, 4)
	want := broker.Stats{Accepted: 6, Sent: 1, Lost: 1, Uncertain: 2, QueuedMessages: 2, QueuedBytes: 11}
	require.Equal(t, want, b.stats())
	require.EqualValues(t, 4, b.l.settled)
}

// TestReports requires one report for consecutive losses of one cause.
func TestReports(t *testing.T) {
	b := keep(100, 10000)
	b.must(t, 1, 2, 3, 4, 5, 6)
	again := fmt.Errorf("a") // another error with the same text
	b.lose(false, errA, 1)
	b.lose(false, again, 2)
	b.lose(true, errA, 3)
	b.lose(true, errB, 4, 5)
	want := []broker.Loss{{Messages: 2, Bytes: 3, Err: errA}, {Messages: 1, Bytes: 3, Uncertain: true, Err: errA}, {Messages: 2, Bytes: 9, Uncertain: true, Err: errB}}
	got := b.l.takeReports()
	require.Equal(t, fmt.Sprint(want), fmt.Sprint(got), "news")
	require.Empty(t, b.l.takeReports(), "reported twice")
	b.lose(true, errB, 6)
	got = b.l.takeReports()
	require.Len(t, got, 1, "news")
	require.Equal(t, 1, got[0].Messages, "news")
}

func TestRoom(t *testing.T) {
	for name, limit := range map[string][2]int{"messages": {4, 10000}, "bytes": {100, 4 * 11}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := keep(limit[0], limit[1])
				b.must(t, 1, 1, 1, 1)
				require.False(t, b.awaited(), "no caller waits yet")
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := b.put(ctx, 1)
				require.Equal(t, context.DeadlineExceeded, err)
				require.Equal(t, time.Minute, time.Since(start))
				done := make(chan error, 2)
				for range cap(done) {
					go func() { done <- b.put(t.Context(), 1) }()
				}
				synctest.Wait()
				b.sent(1)
				synctest.Wait()
				require.Empty(t, done, "did not wait for half of the room")
				require.True(t, b.awaited(), "did not wait for half of the room")
				b.sent(1)
				for range cap(done) {
					require.NoError(t, <-done)
				}
			})
		})
	}
}

func (b *books) awaited() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.l.awaited()
}

// TestTooLarge: a message larger than the limit is admitted alone.
func TestTooLarge(t *testing.T) {
	b := keep(100, 5)
	b.must(t, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, b.put(ctx, 0), "a second one")
}

// TestBarriers: each barrier reports the losses before it, and a barrier that is added after another was passed does
// not repeat the losses of that one.
func TestBarriers(t *testing.T) {
	b := keep(100, 10000)
	require.NoError(t, b.l.wait(t.Context(), b.barrier(t)), "with nothing in front")
	b.must(t, 1, 2, 3)
	first := b.barrier(t)
	b.must(t, 4, 5)
	second := b.barrier(t)
	b.lose(false, errA, 1)
	b.sent(2)
	select {
	case <-first.done:
		t.Fatal("passed too early")
	default:
	}
	b.lose(true, errB, 3, 4)
	wantLoss(t, b.l.wait(t.Context(), first), broker.Loss{Messages: 2, Bytes: 4, Uncertain: true, Err: errB})
	third := b.barrier(t)
	b.sent(5)
	wantLoss(t, b.l.wait(t.Context(), second), broker.Loss{Messages: 3, Bytes: 8, Uncertain: true, Err: errB})
	wantLoss(t, b.l.wait(t.Context(), third), broker.Loss{Messages: 1, Bytes: 4, Uncertain: true, Err: errB})
	require.NoError(t, b.l.wait(t.Context(), b.barrier(t)), "reported again")
}

// TestBarrierBesideLoss: a barrier does not report a loss behind it, although both are settled at once.
func TestBarrierBesideLoss(t *testing.T) {
	b := keep(100, 10000)
	b.must(t, 1)
	first := b.barrier(t)
	b.must(t, 2)
	b.mu.Lock()
	b.l.sent(one(1))
	b.l.lose(one(2), false, errA)
	b.l.notify()
	b.mu.Unlock()
	require.NoError(t, b.l.wait(t.Context(), first), "reported a later loss")
	wantLoss(t, b.l.wait(t.Context(), b.barrier(t)), broker.Loss{Messages: 1, Bytes: 2, Err: errA})
}

// TestGivenUp: the next Flush reports the losses of a Flush that was given up.
func TestGivenUp(t *testing.T) {
	b := keep(100, 10000)
	b.must(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, b.l.wait(ctx, b.barrier(t)))
	require.False(t, b.awaited(), "the abandoned Flush still counts as waiting")
	b.lose(false, errA, 1)
	wantLoss(t, b.l.wait(t.Context(), b.barrier(t)), broker.Loss{Messages: 1, Bytes: 1, Err: errA})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keep(1, 10000)
		b.must(t, 1)
		done := make(chan error, 1)
		go func() { done <- b.put(t.Context(), 1) }()
		synctest.Wait()
		b.mu.Lock()
		b.l.shut()
		last := b.l.addBarrier()
		over := b.l.done()
		b.mu.Unlock()
		<-b.l.closing
		err := <-done
		require.Equal(t, broker.ErrClosed, err, "a publisher that waited for room")
		require.False(t, over, "a publisher that waited for room")
		require.Equal(t, broker.ErrClosed, b.put(t.Context(), 1), "Admit after Close")
		b.lose(true, errA, 1)
		<-last.done
		wantLoss(t, last.err, broker.Loss{Messages: 1, Bytes: 1, Uncertain: true, Err: errA})
		b.mu.Lock()
		defer b.mu.Unlock()
		require.True(t, b.l.done(), "not done although closed and empty")
	})
}
