package memorybroker_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// lossLog records the losses that OnLoss reports.
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
		assert.Error(t, loss.Err)
		assert.False(t, loss.Uncertain, "OnLoss reported")
	}
	assert.Equal(t, messages, m, "OnLoss reported")
	assert.Equal(t, bytes, b, "OnLoss reported")
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
	require.NoError(t, a.Flush(t.Context()))
	st := a.Stats()
	assert.EqualValues(t, 20000, st.Accepted)
	assert.EqualValues(t, 20000, st.Sent)
	assert.Zero(t, st.QueuedMessages)
	assert.Zero(t, st.QueuedBytes)
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
			assert.Equal(t, context.DeadlineExceeded, a.Publish(ctx, lobby, []byte("full")), "%s: Publish with a full outbox", name)
			assert.Equal(t, time.Hour, time.Since(start), "%s: Publish waited", name)
			cancel()
			waiting := make(chan error)
			go func() { waiting <- a.Publish(t.Context(), lobby, []byte("last")) }()
			synctest.Wait()
			memorytest.Heal(a)
			require.NoError(t, <-waiting)
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

		// A waiting Flush returns the loss, and no older one afterwards.
		flushed := make(chan error)
		go func() { flushed <- a.Flush(t.Context()) }()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		told.check(t, 2, 10)
		assert.Equal(t, broker.Stats{Accepted: 3, Lost: 2, QueuedMessages: 1, QueuedBytes: 5}, a.Stats())
		memorytest.Heal(a)
		r.expect(t, "young")
		var loss *broker.LossError
		err := <-flushed
		require.ErrorAs(t, err, &loss)
		require.ErrorIs(t, err, memorybroker.ErrTooOld)
		assert.Equal(t, 2, loss.Messages)
		assert.Equal(t, 10, loss.Bytes)
		require.NoError(t, a.Flush(t.Context()))

		stop()
		stop()
		memorytest.Cut(a, nil)
		publish(t, a, lobby, "old")
		time.Sleep(time.Hour)
		told.check(t, 2, 10)
		memorytest.Heal(a)
		err = a.Flush(t.Context())
		require.ErrorAs(t, err, &loss)
		assert.Equal(t, 1, loss.Messages)
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
		assert.Equal(t, context.DeadlineExceeded, a.Flush(ctx))
		memorytest.Thaw(a)
		require.NoError(t, a.Flush(t.Context()))
	})
}
