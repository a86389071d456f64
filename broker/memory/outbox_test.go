package memorybroker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// lossLog is what OnLoss told.
type lossLog struct {
	mu   sync.Mutex
	list []broker.Loss
}

func (l *lossLog) add(loss broker.Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, loss)
}

func (l *lossLog) check(t *testing.T, messages, bytes int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	m, b := 0, 0
	for _, loss := range l.list {
		m += loss.Messages
		b += loss.Bytes
		if loss.Err == nil || loss.Uncertain {
			t.Errorf("OnLoss was told %+v", loss)
		}
	}
	if m != messages || b != bytes {
		t.Errorf("OnLoss was told of %d messages of %d bytes, want %d of %d", m, b, messages, bytes)
	}
}

func TestOutboxKeepsOrder(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	r, _ := subscribe(t, b, broker.Exactly(lobby))
	for round := range 20 {
		publish(t, a, lobby, numbers(1000*round, 300)...)
		memorytest.Cut(a, nil)
		publish(t, a, lobby, numbers(1000*round+300, 400)...)
		memorytest.Heal(a)
		publish(t, a, lobby, numbers(1000*round+700, 300)...)
		r.expect(t, numbers(1000*round, 1000)...)
	}
	must(t, a.Flush(t.Context()))
	if st := a.Stats(); st.Accepted != 20000 || st.Sent != 20000 || st.QueuedMessages != 0 || st.QueuedBytes != 0 {
		t.Errorf("%+v", st)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, opts := range map[string]*memorybroker.Options{
			"messages": {OutboxMessages: 3, OutboxAge: -1},
			"bytes":    {OutboxBytes: 5, OutboxAge: -1},
		} {
			bus := memorybroker.NewBus(opts)
			a, b := bus.Broker(), bus.Broker()
			r, _ := subscribe(t, b, broker.Exactly(lobby))
			memorytest.Cut(a, nil)
			publish(t, a, lobby, "1", "2", "3")
			if name == "bytes" {
				publish(t, a, lobby, "45")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			start := time.Now()
			if err := a.Publish(ctx, lobby, []byte("full")); err != context.DeadlineExceeded {
				t.Errorf("%s: Publish with a full outbox: %v", name, err)
			}
			if time.Since(start) != time.Hour {
				t.Errorf("%s: Publish waited %v", name, time.Since(start))
			}
			cancel()
			waiting := make(chan error)
			go func() { waiting <- a.Publish(t.Context(), lobby, []byte("last")) }()
			synctest.Wait()
			memorytest.Heal(a)
			must(t, <-waiting)
			r.expect(t, "1", "2", "3")
			if name == "bytes" {
				r.expect(t, "45")
			}
			r.expect(t, "last")
			closing(t, a, b)
		}
	})
}

func TestOutboxGivesUpWhatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(&memorybroker.Options{OutboxAge: time.Minute})
		a, b := bus.Broker(), bus.Broker()
		defer closing(t, a, b)
		r, _ := subscribe(t, b, broker.Exactly(lobby))
		var told lossLog
		stop := a.OnLoss(told.add)
		memorytest.Cut(a, nil)
		publish(t, a, lobby, "old", "old too")
		time.Sleep(40 * time.Second)
		publish(t, a, lobby, "young")

		// A Flush that waits hears of the loss, and of nothing older afterwards.
		flushed := make(chan error)
		go func() { flushed <- a.Flush(t.Context()) }()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		told.check(t, 2, 10)
		if st := a.Stats(); st.Lost != 2 || st.QueuedMessages != 1 || st.QueuedBytes != 5 || st.Accepted != 3 || st.Sent != 0 {
			t.Errorf("%+v", st)
		}
		memorytest.Heal(a)
		r.expect(t, "young")
		var loss *broker.LossError
		if err := <-flushed; !errors.As(err, &loss) || loss.Messages != 2 || loss.Bytes != 10 {
			t.Errorf("Flush: %v", err)
		}
		must(t, a.Flush(t.Context()))

		stop()
		stop()
		memorytest.Cut(a, nil)
		publish(t, a, lobby, "old")
		time.Sleep(time.Hour)
		told.check(t, 2, 10)
		memorytest.Heal(a)
		if err := a.Flush(t.Context()); !errors.As(err, &loss) || loss.Messages != 1 {
			t.Errorf("Flush: %v", err)
		}
	})
}

func TestFlushEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := memorybroker.New(nil)
		defer closing(t, a)
		memorytest.Freeze(a)
		publish(t, a, lobby, "waits")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.Flush(ctx); err != context.DeadlineExceeded {
			t.Errorf("Flush: %v", err)
		}
		memorytest.Thaw(a)
		must(t, a.Flush(t.Context()))
	})
}
