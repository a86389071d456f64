package memorybroker_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

func TestCutAndHeal(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	r, _ := subscribe(t, b, broker.Exactly(lobby))
	publish(t, a, lobby, "before")
	memorytest.Heal(b) // without a gap to end
	memorytest.Cut(b, errors.New("cable pulled"))
	memorytest.Cut(b, errors.New("cable pulled again"))
	publish(t, a, lobby, "missed")
	publish(t, b, lobby, "own")
	memorytest.Heal(b)
	memorytest.Heal(b)
	require.NoError(t, b.Flush(t.Context()))
	publish(t, a, lobby, "after")
	r.expect(t, "before", "interrupted: cable pulled", "resumed", "own", "after")
	r.nothing(t)
}

func TestFreezeAndThaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		a, b := bus.Broker(), bus.Broker()
		defer closing(t, a, b)
		mine, _ := subscribe(t, a, broker.Exactly(lobby))
		r, _ := subscribe(t, b, broker.Exactly(lobby))
		memorytest.Freeze(b)
		memorytest.Freeze(b)
		publish(t, a, lobby, "held back")
		publish(t, b, lobby, "also held back")
		synctest.Wait()
		r.nothing(t)
		mine.expect(t, "held back")
		mine.nothing(t)
		memorytest.Thaw(b)
		memorytest.Thaw(b)
		r.expect(t, "held back", "also held back")
		mine.expect(t, "also held back")
	})
}

func TestFrozenAndCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		a, b := bus.Broker(), bus.Broker()
		defer closing(t, a, b)
		r, _ := subscribe(t, b, broker.Exactly(lobby))
		memorytest.Freeze(b)
		memorytest.Cut(b, nil)
		publish(t, b, lobby, "own")
		memorytest.Heal(b)
		synctest.Wait()
		r.nothing(t)
		memorytest.Thaw(b)
		r.expect(t, "interrupted: memory broker: link cut", "resumed", "own")
	})
}

func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		bus := memorybroker.NewBus(&memorybroker.Options{OutboxMessages: 1})
		a, b := bus.Broker(), bus.Broker()
		defer closing(t, a)
		seen, _ := subscribe(t, a, broker.Exactly(lobby))
		r, s := subscribe(t, b, broker.Exactly(lobby))
		var told lossLog
		b.OnLoss(told.add)
		memorytest.Freeze(b)
		publish(t, b, lobby, "lost with its node")
		publish(t, a, lobby, "not delivered")
		waiting := make(chan error)
		go func() { waiting <- b.Publish(ctx, lobby, nil) }()
		synctest.Wait()

		memorytest.Kill(b)
		memorytest.Kill(b)
		memorytest.Cut(b, nil)
		memorytest.Heal(b)
		memorytest.Thaw(b)
		assert.ErrorIs(t, <-waiting, broker.ErrClosed, "a Publish that waited")
		for name, err := range map[string]error{
			"Publish": b.Publish(ctx, lobby, nil),
			"Flush":   b.Flush(ctx),
			"Add":     s.Add(ctx, broker.Exactly(lobby)),
		} {
			assert.ErrorIs(t, err, broker.ErrClosed, "%s after Kill", name)
		}
		require.NoError(t, s.Remove(ctx, broker.Exactly(lobby)))
		require.NoError(t, s.Close(ctx))
		require.NoError(t, b.Close(ctx))
		require.NoError(t, b.Close(ctx))
		st := b.Stats()
		assert.EqualValues(t, 1, st.Lost)
		assert.Zero(t, st.QueuedMessages)
		assert.Zero(t, st.Subscriptions)
		told.check(t, 0, 0)
		publish(t, a, lobby, "marker")
		seen.expect(t, "not delivered", "marker")
		synctest.Wait()
		r.nothing(t)
	})
}

func TestKillFromAReceiver(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	killed := make(chan struct{})
	_, err := b.Subscribe(t.Context(), &funcReceiver{deliver: func(broker.Channel, []byte) {
		memorytest.Kill(b)
		close(killed) // panics on a second message
	}}, broker.Exactly(lobby))
	require.NoError(t, err)
	publish(t, a, lobby, "1", "2", "3")
	<-killed
}

func TestFaultsAfterCloseDoNothing(t *testing.T) {
	b := memorybroker.New(nil)
	closing(t, b)
	memorytest.Cut(b, nil)
	memorytest.Freeze(b)
	memorytest.Heal(b)
	memorytest.Thaw(b)
	memorytest.Kill(b)
	closing(t, b)
}

// Flush returns at once on a node whose link is cut if its outbox is empty: everything accepted before has been handed
// over. With a message in the outbox it waits.
func TestFlushWhileCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memorybroker.NewBus(nil).Broker()
		defer b.Close(t.Context())
		memorytest.Cut(b, nil)
		require.NoError(t, b.Flush(t.Context()))
		require.NoError(t, b.Publish(t.Context(), lobby, nil))
		flushed := make(chan error, 1)
		go func() { flushed <- b.Flush(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Fatalf("Flush returned %v with a message in the outbox", err)
		default:
		}
		memorytest.Heal(b)
		require.NoError(t, <-flushed)
	})
}
