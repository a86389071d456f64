package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestSlowReceiver: while its buffer has room a receiver that is stuck holds up
// nobody; once it is full the others wait, and nothing is missing afterwards.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	const buffered = 100
	b := open(t, srv.URL(), &redisbroker.Options{ReceiveBuffer: buffered * (128 + len("message 000"))})
	g, free := newGate(t), record(t)
	subscribe(t, b, g, broker.SocketIO.EveryRoom("/"))
	subscribe(t, b, free, broker.SocketIO.EveryRoom("/"))
	text := func(i int) string { return fmt.Sprintf("message %03d", i) }
	publish(t, b, room, text(0))
	<-g.entered
	for i := 1; i <= buffered; i++ {
		publish(t, b, room, text(i))
	}
	for i := range buffered + 1 {
		free.want(room, text(i))
	}
	for i := range 50 {
		publish(t, b, room, text(buffered+1+i))
	}
	flush(t, b)
	close(g.open)
	for i := range buffered + 51 {
		g.want(room, text(i))
	}
	for i := range 50 {
		free.want(room, text(buffered+1+i))
	}
	if s := b.Stats(); s.Interruptions != 0 {
		t.Fatalf("Stats %+v", s)
	}
}

// TestStuckReceiver: what has to wait for a receiver that does not return ends with
// its context, and leaves the rest in order.
func TestStuckReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	b := open(t, srv.URL(), &redisbroker.Options{ReceiveBuffer: 1})
	g, free := newGate(t), record(t)
	stuck := subscribe(t, b, g, broker.Exactly(room), broker.Exactly(marker))
	other := broker.SocketIO.Room("/", "other")
	subscribe(t, b, free, broker.Exactly(other), broker.Exactly(room))
	publish(t, b, room, "stuck")
	publish(t, b, room, "behind it")
	publish(t, b, room, "and that blocks the reader")
	publish(t, b, other, "waits")
	<-g.entered
	if err := stuck.Remove(within(t, 20*time.Millisecond), broker.Exactly(room)); err != context.DeadlineExceeded {
		t.Fatalf("Remove: %v, want the context's error", err)
	}
	free.want(room, "stuck")
	free.want(room, "behind it")
	free.want(room, "and that blocks the reader")
	free.want(other, "waits")
	if err := stuck.Close(within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
		t.Fatalf("Close: %v, want the context's error", err)
	}
	if err := stuck.Add(within(t, patience), broker.Exactly(other)); !errors.Is(err, broker.ErrClosed) {
		t.Fatalf("Add after Close: %v", err)
	}
	second := newGate(t)
	defer close(second.open)
	subscribe(t, b, second, broker.Exactly(other))
	publish(t, b, other, "x")
	<-second.entered
	if err := b.Close(within(t, 20*time.Millisecond)); err != context.DeadlineExceeded {
		t.Fatalf("Close of the broker: %v, want the context's error", err)
	}
	close(g.open)
	if err := stuck.Close(within(t, patience)); err != nil {
		t.Fatalf("Close once more: %v", err)
	}
	g.want(room, "stuck")
	if len(g.calls) > 0 {
		t.Fatalf("after Remove came %v", <-g.calls)
	}
}

func TestNoReceiver(t *testing.T) {
	t.Parallel()
	b := open(t, "localhost:1", nil)
	if _, err := b.Subscribe(t.Context(), nil, broker.Exactly(room)); err == nil {
		t.Fatal("no error")
	}
}
