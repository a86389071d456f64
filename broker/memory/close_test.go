package memorybroker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
		if err := a.Publish(t.Context(), lobby, nil); !errors.Is(err, broker.ErrClosed) {
			t.Errorf("Publish beside Close: %v", err)
		}
		memorytest.Heal(a)
		must(t, <-closed)
		r.expect(t, numbers(0, 1000)...)
	})
}

func TestCloseGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		patience time.Duration // of the context; zero: no limit
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
				if !errors.As(err, &loss) || loss.Messages != 2 || loss.Bytes != 10 {
					t.Errorf("Close: %v", err)
				}
				if c.why != nil && !errors.Is(err, c.why) {
					t.Errorf("Close: %v, want %v in it", err, c.why)
				}
				want := time.Minute
				if c.patience < 0 {
					want = 0
				}
				if waited := time.Since(start); waited != want {
					t.Errorf("Close waited %v, want %v", waited, want)
				}
				told.check(t, 2, 10)
				if st := a.Stats(); st.Lost != 2 || st.QueuedMessages != 0 || st.QueuedBytes != 0 {
					t.Errorf("%+v", st)
				}
				if again := a.Close(t.Context()); again != err {
					t.Errorf("the second Close: %v", again)
				}
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
		if err := a.Close(ended); !errors.As(err, &loss) || !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
		for range calls {
			if r := <-results; !errors.Is(r.err, broker.ErrClosed) {
				t.Errorf("%s: %v", r.name, r.err)
			}
		}
		if err := <-flushed; !errors.As(err, &loss) {
			t.Errorf("Flush: %v", err)
		}
	})
}

func TestCloseDoesNotWaitForAStuckReceiverForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, r, s, release := stuck(t, nil)
		defer closing(t, a)
		publish(t, a, lobby, "never delivered")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Close(ctx); err != context.DeadlineExceeded {
			t.Errorf("Close: %v", err)
		}
		release()
		must(t, s.Close(t.Context()))
		synctest.Wait()
		r.nothing(t)
	})
}
