package brokerkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// books are a ledger with its mutex, and locked calls.
type books struct {
	mu sync.Mutex
	l  accounting
}

func keep(messages, bytes int) *books {
	b := &books{}
	b.l = newAccounting(&b.mu, messages, bytes, func() {})
	return b
}

// one is a message of so many bytes; there are 10 more on the wire.
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

// must puts in messages for which there is room.
func (b *books) must(t *testing.T, sizes ...int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.put(ctx, sizes...); err != nil {
		t.Fatal(err)
	}
}

func wantLoss(t *testing.T, got error, want broker.Loss) {
	t.Helper()
	var loss *broker.LossError
	if !errors.As(got, &loss) || loss.Loss != want {
		t.Fatalf("%v, want %+v", got, want)
	}
}

var errA, errB = errors.New("a"), errors.New("b")

func TestStats(t *testing.T) {
	b := keep(100, 10000)
	b.must(t, 1, 2, 3, 4, 5, 6)
	b.sent(1)
	b.lose(false, errA, 2)
	b.lose(true, errA, 3, 4)
	want := broker.Stats{Accepted: 6, Sent: 1, Lost: 1, Uncertain: 2, QueuedMessages: 2, QueuedBytes: 11}
	if s := b.stats(); s != want {
		t.Fatalf("Stats %+v, want %+v", s, want)
	}
	if n := b.l.settled; n != 4 {
		t.Fatalf("%d are settled, want 4", n)
	}
}

// TestNews: what one after the other was lost for the same cause is told together.
func TestNews(t *testing.T) {
	b := keep(100, 10000)
	b.must(t, 1, 2, 3, 4, 5, 6)
	again := fmt.Errorf("a") // another error with the same text
	b.lose(false, errA, 1)
	b.lose(false, again, 2)
	b.lose(true, errA, 3)
	b.lose(true, errB, 4, 5)
	want := []broker.Loss{{Messages: 2, Bytes: 3, Err: errA}, {Messages: 1, Bytes: 3, Uncertain: true, Err: errA}, {Messages: 2, Bytes: 9, Uncertain: true, Err: errB}}
	got := b.l.takeReports()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("news %+v, want %+v", got, want)
	}
	if more := b.l.takeReports(); len(more) > 0 {
		t.Fatalf("told twice: %+v", more)
	}
	b.lose(true, errB, 6)
	if got := b.l.takeReports(); len(got) != 1 || got[0].Messages != 1 {
		t.Fatalf("news %+v, want one message", got)
	}
}

func TestRoom(t *testing.T) {
	for name, limit := range map[string][2]int{"messages": {4, 10000}, "bytes": {100, 4 * 11}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := keep(limit[0], limit[1])
				b.must(t, 1, 1, 1, 1)
				if b.awaited() {
					t.Fatal("nobody waits yet")
				}
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := b.put(ctx, 1); err != context.DeadlineExceeded || time.Since(start) != time.Minute {
					t.Fatalf("%v after %v, want the context's error after a minute", err, time.Since(start))
				}
				done := make(chan error, 2)
				for range cap(done) {
					go func() { done <- b.put(t.Context(), 1) }()
				}
				synctest.Wait()
				b.sent(1)
				synctest.Wait()
				if len(done) > 0 || !b.awaited() {
					t.Fatalf("%d did not wait for half of the room", len(done))
				}
				b.sent(1)
				for range cap(done) {
					if err := <-done; err != nil {
						t.Fatal(err)
					}
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

// TestTooLarge: a message larger than the limit goes alone.
func TestTooLarge(t *testing.T) {
	b := keep(100, 5)
	b.must(t, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.put(ctx, 0); err != context.Canceled {
		t.Fatalf("a second one: %v", err)
	}
}

// TestBarriers: each barrier tells of what was lost before it, and a barrier that is
// put up after another was passed does not repeat what that one told.
func TestBarriers(t *testing.T) {
	b := keep(100, 10000)
	if err := b.l.wait(t.Context(), b.barrier(t)); err != nil {
		t.Fatalf("with nothing in front: %v", err)
	}
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
	if err := b.l.wait(t.Context(), b.barrier(t)); err != nil {
		t.Fatalf("told again: %v", err)
	}
}

// TestBarrierBesideLoss: a barrier does not tell of what is lost behind it, although
// both are settled at once.
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
	if err := b.l.wait(t.Context(), first); err != nil {
		t.Fatalf("told of what came behind it: %v", err)
	}
	wantLoss(t, b.l.wait(t.Context(), b.barrier(t)), broker.Loss{Messages: 1, Bytes: 2, Err: errA})
}

// TestGivenUp: what a Flush that was given up would have told, the next one tells.
func TestGivenUp(t *testing.T) {
	b := keep(100, 10000)
	b.must(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.l.wait(ctx, b.barrier(t)); err != context.Canceled {
		t.Fatalf("%v, want the context's error", err)
	}
	if b.awaited() {
		t.Fatal("who gave up is still waited for")
	}
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
		last := b.l.close()
		over := b.l.done()
		b.mu.Unlock()
		<-b.l.closing
		if err := <-done; err != broker.ErrClosed || over {
			t.Fatalf("who waited for room gets %v, over %v", err, over)
		}
		if err := b.put(t.Context(), 1); err != broker.ErrClosed {
			t.Fatalf("Admit after Close: %v", err)
		}
		b.lose(true, errA, 1)
		<-last.done
		wantLoss(t, last.err, broker.Loss{Messages: 1, Bytes: 1, Uncertain: true, Err: errA})
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.l.done() {
			t.Fatal("not done although closed and empty")
		}
	})
}
