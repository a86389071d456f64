package memorybroker_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

func TestCloseWaitsForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		a, b := bus.Broker(), bus.Broker()
		defer closing(t, b)
		r, _ := subscribe(t, b, broker.Exactly(lobby))
		memorytest.Cut(a, nil)
		publish(t, a, lobby, numbers(0, 1000)...)
		closed := make(chan error)
		go func() { closed <- a.Close(t.Context()) }()
		synctest.Wait()
		assert.ErrorIs(t, a.Publish(t.Context(), lobby, nil), broker.ErrClosed, "Publish beside Close")
		memorytest.Heal(a)
		require.NoError(t, <-closed)
		r.expect(t, numbers(0, 1000)...)
	})
}

func TestCloseGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		patience time.Duration // time limit of the context; zero: none
		age      time.Duration
		why      error
	}{
		"at once":                {patience: -time.Second, age: -1, why: context.DeadlineExceeded},
		"when its context ends":  {patience: time.Minute, age: -1, why: context.DeadlineExceeded},
		"when messages are old":  {age: time.Minute},
		"with the first of both": {patience: time.Hour, age: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := memorybroker.New(&memorybroker.Options{OutboxAge: c.age})
				var told lossLog
				a.OnLoss(told.add)
				memorytest.Cut(a, nil)
				publish(t, a, lobby, "12345", "12345")
				ctx, start := t.Context(), time.Now()
				if c.patience != 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.patience)
					defer cancel()
				}
				err := a.Close(ctx)
				var loss *broker.LossError
				require.ErrorAs(t, err, &loss)
				assert.Equal(t, 2, loss.Messages)
				assert.Equal(t, 10, loss.Bytes)
				if c.why != nil {
					assert.ErrorIs(t, err, c.why)
				}
				want := time.Minute
				if c.patience < 0 {
					want = 0
				}
				assert.Equal(t, want, time.Since(start), "Close waited")
				told.check(t, 2, 10)
				st := a.Stats()
				assert.EqualValues(t, 2, st.Lost)
				assert.Zero(t, st.QueuedMessages)
				assert.Zero(t, st.QueuedBytes)
				assert.Same(t, err, a.Close(t.Context()), "the second Close")
			})
		})
	}
}

func TestCloseEndsCallsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		a := memorybroker.New(&memorybroker.Options{OutboxMessages: 1, OutboxAge: -1})
		_, s := subscribe(t, a)
		memorytest.Cut(a, nil)
		publish(t, a, lobby, "queued")
		calls := map[string]func() error{
			"Publish":     func() error { return a.Publish(ctx, lobby, nil) },
			"Subscribe":   func() error { _, err := a.Subscribe(ctx, nop{}, broker.Exactly(lobby)); return err },
			"Add":         func() error { return s.Add(ctx, broker.Exactly(lobby)) },
			"Subscribers": func() error { _, err := a.Subscribers(ctx, lobby); return err },
			"Responders":  func() error { _, err := a.Responders(ctx, broker.Native, "/"); return err },
		}
		type result struct {
			name string
			err  error
		}
		results := make(chan result)
		for name, call := range calls {
			go func() { results <- result{name, call()} }()
		}
		flushed := make(chan error)
		go func() { flushed <- a.Flush(ctx) }()
		synctest.Wait()
		ended, cancel := context.WithCancel(ctx)
		cancel()
		var loss *broker.LossError
		err := a.Close(ended)
		require.ErrorAs(t, err, &loss)
		assert.ErrorIs(t, err, context.Canceled)
		for range calls {
			r := <-results
			assert.ErrorIs(t, r.err, broker.ErrClosed, r.name)
		}
		assert.ErrorAs(t, <-flushed, &loss)
	})
}

// TestPublishEndsWithItsBroker: a Publish that waits for the slow receiver of another node ends when its own broker is
// given up or killed, also if it waits in the outbox.
func TestPublishEndsWithItsBroker(t *testing.T) {
	for name, end := range map[string]func(context.Context, *memorybroker.Broker){
		"Close": func(ctx context.Context, b *memorybroker.Broker) { _ = b.Close(ctx) },
		"Kill":  func(_ context.Context, b *memorybroker.Broker) { memorytest.Kill(b) },
	} {
		for _, outbox := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, outbox %t", name, outbox), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b, r, _, release := stuck(t, &memorybroker.Options{QueueMessages: 1, SlowReceiver: time.Hour})
					publish(t, a, lobby, "queued")
					if outbox {
						memorytest.Cut(a, nil)
						publish(t, a, lobby, "waits")
						memorytest.Heal(a)
					}
					began := time.Now()
					done := make(chan error, 1)
					if !outbox {
						go func() { done <- a.Publish(context.Background(), lobby, []byte("waits")) }()
					}
					synctest.Wait()
					require.Empty(t, done, "Publish did not wait")
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					defer cancel()
					end(ctx, a)
					if !outbox {
						require.NoError(t, <-done)
						synctest.Wait()
					}
					assert.LessOrEqual(t, time.Since(began), time.Second)
					release()
					r.expect(t, "queued")
					_ = a.Close(ctx)
					closing(t, b)
				})
			})
		}
	}
}

func TestCloseDoesNotWaitForAStuckReceiverForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r, s, release := stuck(t, nil)
		defer closing(t, a)
		publish(t, a, lobby, "never delivered")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, b.Close(ctx))
		release()
		require.NoError(t, s.Close(t.Context()))
		synctest.Wait()
		r.nothing(t)
	})
}

// TestCloseWithAnEmptyOutbox: no fault delays it, also after messages that were too old.
func TestCloseWithAnEmptyOutbox(t *testing.T) {
	for name, fault := range map[string]func(*memorybroker.Broker){
		"cut":    func(b *memorybroker.Broker) { memorytest.Cut(b, nil) },
		"frozen": memorytest.Freeze,
	} {
		synctest.Test(t, func(t *testing.T) {
			a := memorybroker.New(nil)
			a.OnLoss(func(broker.Loss) {}) // in place of the log
			fault(a)
			publish(t, a, lobby, "old")
			require.ErrorIs(t, a.Flush(t.Context()), memorybroker.ErrTooOld, "%s: Flush", name)
			start := time.Now()
			require.NoError(t, a.Close(t.Context()), "%s: Close", name)
			assert.Zero(t, time.Since(start), "%s: Close waited", name)
		})
	}
}
