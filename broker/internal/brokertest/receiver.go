package brokertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// StuckReceiver tests that every call that waits for a blocked receiver ends with its context, and leaves the rest
// intact. The broker's buffers for a receiver must hold one message, and the broker must not wait long before the
// receiver misses messages.
func StuckReceiver(t *testing.T, b broker.Broker) {
	room, marker, other := broker.Native.Room("/", "room"), broker.Native.Room("/", "marker"), broker.Native.Room("/", "other")
	g, free := NewGate(t), Record(t)
	stuck := Subscribe(t, b, g, broker.Exactly(room), broker.Exactly(marker))
	Subscribe(t, b, free, broker.Exactly(other), broker.Exactly(room))
	Publish(t, b, room, "stuck")
	<-g.Entered
	Publish(t, b, room, "behind it")
	Publish(t, b, room, "too much")
	Publish(t, b, other, "waits perhaps")
	if err := stuck.Remove(Within(t, 20*time.Millisecond), broker.Exactly(room)); err != context.DeadlineExceeded {
		t.Fatalf("Remove: %v, want the context's error", err)
	}
	for _, text := range []string{"stuck", "behind it", "too much"} {
		free.Want(room, text)
	}
	free.Want(other, "waits perhaps")
	if err := stuck.Close(Within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
		t.Fatalf("Close: %v, want the context's error", err)
	}
	if err := stuck.Add(Within(t, Patience), broker.Exactly(other)); !errors.Is(err, broker.ErrClosed) {
		t.Fatalf("Add after Close: %v", err)
	}
	second := NewGate(t)
	defer close(second.Open)
	Subscribe(t, b, second, broker.Exactly(other))
	Publish(t, b, other, "x")
	<-second.Entered
	if err := b.Close(Within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
		t.Fatalf("Close of the broker: %v, want the context's error", err)
	}
	close(g.Open)
	if err := stuck.Close(Within(t, Patience)); err != nil {
		t.Fatalf("Close once more: %v", err)
	}
	g.Want(room, "stuck")
	g.WantNothing() // of the removed filter
}
