package brokertest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// SlowCost is what one of SlowReceiver's messages takes in a receiver's buffer.
const SlowCost = 128 + len("message 000")

// SlowReceiver tests that what overflows the buffer of a blocked receiver is counted and reported in its place, and
// that another receiver misses nothing. The buffers of b must hold that many messages of SlowCost, and b must not wait
// long before the receiver misses messages. from publishes.
func SlowReceiver(t *testing.T, b, from broker.Broker, buffered int) {
	const missed = 37
	room := broker.Native.Room("/", "room")
	g, free := NewGate(t), Record(t)
	Subscribe(t, b, g, broker.Native.EveryRoom("/"))
	Subscribe(t, b, free, broker.Native.EveryRoom("/"))
	text := func(i int) string { return fmt.Sprintf("message %03d", i) }
	Publish(t, from, room, text(0))
	<-g.Entered
	n := 1 + buffered + missed
	for i := 1; i < n; i++ {
		Publish(t, from, room, text(i))
	}
	for i := range n {
		free.Want(room, text(i))
	}
	close(g.Open)
	for i := range 1 + buffered {
		g.Want(room, text(i))
		if i == 1+buffered/2 {
			Publish(t, from, room, "after") // half is free: this one comes after the gap
		}
	}
	c := g.WantCall("interrupted")
	var loss *broker.LossError
	if !errors.As(c.Err, &loss) || loss.Messages != missed || loss.Bytes != missed*len(text(0)) || !errors.Is(c.Err, broker.ErrSlowReceiver) {
		t.Errorf("Interrupted(%v), want %d messages", c.Err, missed)
	}
	g.WantCall("resumed")
	g.Want(room, "after")
	free.Want(room, "after")
	if s := b.Stats(); s.Interruptions != 1 || s.Interrupted <= 0 {
		t.Errorf("Stats %+v", s)
	}
}

// slowly is a receiver that takes its time for each message. It counts what it gets and what it misses.
type slowly struct{ got, missed, gaps atomic.Int64 }

func (s *slowly) Deliver(broker.Channel, []byte) {
	time.Sleep(5 * time.Millisecond) // the load
	s.got.Add(1)
}

func (s *slowly) Interrupted(err error) {
	s.gaps.Add(1)
	var loss *broker.LossError
	if errors.As(err, &loss) {
		s.missed.Add(int64(loss.Messages))
	}
}

func (s *slowly) Resumed() {}

// SlowNeighbour tests that 20,000 messages for a receiver that takes 100 s for them, and makes room in its buffer all
// the time, hold up another namespace and the control channel for a short time only, and that those it misses are
// counted. The buffers of b must hold 64 KiB. from publishes.
func SlowNeighbour(t *testing.T, b, from broker.Broker) {
	const n, most = 20_000, 20 * time.Second
	guest, main, control := broker.Native.Room("/guest", "r"), broker.Native.Room("/main", "r"), broker.Control()
	slow, other := &slowly{}, Record(t)
	Subscribe(t, b, slow, broker.Native.EveryRoom("/guest"))
	Subscribe(t, b, other, broker.Native.EveryRoom("/main"), broker.Exactly(control))
	began := time.Now()
	for range n {
		if err := from.Publish(t.Context(), guest, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	Publish(t, from, main, "main")
	Publish(t, from, control, "control")
	for range 2 {
		other.Next()
	}
	took := time.Since(began)
	t.Logf("behind %d messages for a slow receiver after %v; it had %d of them", n, took.Round(time.Millisecond), slow.got.Load())
	if took > most {
		t.Errorf("other channels waited for %v", took)
	}
	Eventually(t, func() error {
		if got, missed := slow.got.Load(), slow.missed.Load(); got+missed != n {
			return fmt.Errorf("the slow receiver got %d messages, and %d were reported as missed, of %d", got, missed, n)
		}
		return nil
	})
	t.Logf("the slow receiver got %d, missed %d in %d reported gaps", slow.got.Load(), slow.missed.Load(), slow.gaps.Load())
}
