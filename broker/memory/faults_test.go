package memorybroker_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

func TestInterruptAndResume(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	r, _ := subscribe(t, b, broker.Exactly(lobby))
	publish(t, a, lobby, "before")
	b.Resume() // nothing to resume
	b.Interrupt(errors.New("cable pulled"))
	b.Interrupt(errors.New("cable pulled again"))
	publish(t, a, lobby, "missed")
	publish(t, b, lobby, "own")
	b.Resume()
	b.Resume()
	must(t, b.Flush(t.Context()))
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
		b.Freeze()
		b.Freeze()
		publish(t, a, lobby, "held back")
		publish(t, b, lobby, "also held back")
		synctest.Wait()
		r.nothing(t)
		mine.expect(t, "held back")
		mine.nothing(t)
		b.Thaw()
		b.Thaw()
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
		b.Freeze()
		b.Interrupt(nil)
		publish(t, b, lobby, "own")
		b.Resume()
		synctest.Wait()
		r.nothing(t)
		b.Thaw()
		r.expect(t, "interrupted: memory broker: link interrupted", "resumed", "own")
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
		b.Freeze()
		publish(t, b, lobby, "dies with its node")
		publish(t, a, lobby, "not delivered")
		waiting := make(chan error)
		go func() { waiting <- b.Publish(ctx, lobby, nil) }()
		synctest.Wait()

		b.Kill()
		b.Kill()
		b.Interrupt(nil)
		b.Resume()
		b.Thaw()
		if err := <-waiting; !errors.Is(err, broker.ErrClosed) {
			t.Errorf("a Publish that waited: %v", err)
		}
		for name, err := range map[string]error{
			"Publish": b.Publish(ctx, lobby, nil),
			"Flush":   b.Flush(ctx),
			"Add":     s.Add(ctx, broker.Exactly(lobby)),
		} {
			if !errors.Is(err, broker.ErrClosed) {
				t.Errorf("%s after Kill: %v", name, err)
			}
		}
		must(t, s.Remove(ctx, broker.Exactly(lobby)))
		must(t, s.Close(ctx))
		must(t, b.Close(ctx))
		must(t, b.Close(ctx))
		if st := b.Stats(); st.Lost != 1 || st.QueuedMessages != 0 || st.Subscriptions != 0 {
			t.Errorf("%+v", st)
		}
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
		b.Kill()
		close(killed) // panics if there is a second message
	}}, broker.Exactly(lobby))
	must(t, err)
	publish(t, a, lobby, "1", "2", "3")
	<-killed
}

func TestFaultsAfterCloseDoNothing(t *testing.T) {
	b := memorybroker.New(nil)
	closing(t, b)
	b.Interrupt(nil)
	b.Freeze()
	b.Resume()
	b.Thaw()
	b.Kill()
	closing(t, b)
}

// Flush returns at once on a node whose link is cut if its outbox is empty: everything
// accepted before has been handed over. With a message in the outbox it waits.
func TestFlushWhileCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memorybroker.NewBus(nil).Broker()
		defer b.Close(t.Context())
		b.Interrupt(nil)
		must(t, b.Flush(t.Context()))
		must(t, b.Publish(t.Context(), lobby, nil))
		flushed := make(chan error, 1)
		go func() { flushed <- b.Flush(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-flushed:
			t.Fatalf("Flush returned %v with a message in the outbox", err)
		default:
		}
		b.Resume()
		must(t, <-flushed)
	})
}
