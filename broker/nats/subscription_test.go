package natsbroker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// gate is a receiver that holds up deliveries until it is opened.
type gate struct {
	*recorder
	entered chan struct{}
	open    chan struct{}
}

func newGate(t testing.TB) *gate {
	return &gate{recorder: record(t), entered: make(chan struct{}, 1), open: make(chan struct{})}
}

func (g *gate) Deliver(ch broker.Channel, payload []byte) {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	g.recorder.Deliver(ch, payload)
}

// TestSlowReceiver: what overflows a receiver's buffer is counted and told in its
// place, and others miss nothing.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	const buffered, missed = 100, 37
	opts := &natsbroker.Options{ReceiveBuffer: buffered * (128 + len("message 000")), SlowReceiver: 10 * time.Millisecond}
	b, sender := open(t, srv.URL(), opts), open(t, srv.URL(), nil)
	g, free := newGate(t), record(t)
	subscribe(t, b, g, broker.Native.EveryRoom("/"))
	subscribe(t, b, free, broker.Native.EveryRoom("/"))
	text := func(i int) string { return fmt.Sprintf("message %03d", i) }
	publish(t, sender, room, text(0))
	<-g.entered
	n := 1 + buffered + missed
	for i := 1; i < n; i++ {
		publish(t, sender, room, text(i))
	}
	for i := range n {
		free.want(room, text(i))
	}
	close(g.open)
	for i := range 1 + buffered {
		g.want(room, text(i))
		if i == 1+buffered/2 {
			// Half is free again: this one comes after the gap.
			publish(t, sender, room, "after")
		}
	}
	c := g.wantCall("interrupted")
	var loss *broker.LossError
	if !errors.As(c.err, &loss) || loss.Messages != missed || loss.Bytes != missed*len(text(0)) || !errors.Is(c.err, natsbroker.ErrSlowReceiver) {
		t.Fatalf("Interrupted(%v), want %d messages missed", c.err, missed)
	}
	g.wantCall("resumed")
	g.want(room, "after")
	free.want(room, "after")
	if s := b.Stats(); s.Interruptions != 1 || s.Interrupted <= 0 {
		t.Fatalf("Stats %+v", s)
	}
}

// TestReceiverThatCatchesUp: the buffer is full again and again, and nothing is
// missed, since the receiver goes on.
func TestReceiverThatCatchesUp(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	b, sender := open(t, srv.URL(), &natsbroker.Options{ReceiveBuffer: 1, SlowReceiver: patience, ProbeTimeout: 2 * patience}), open(t, srv.URL(), nil)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	const n = 5000
	for i := range n {
		publish(t, sender, room, fmt.Sprint(i))
	}
	for i := range n {
		r.want(room, fmt.Sprint(i))
	}
}

// TestStuckReceiver: what has to wait for a receiver that does not return ends with
// its context, and leaves the rest in order.
func TestStuckReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	b := open(t, srv.URL(), &natsbroker.Options{ReceiveBuffer: 1, SlowReceiver: 10 * time.Millisecond})
	g, free := newGate(t), record(t)
	stuck := subscribe(t, b, g, broker.Exactly(room), broker.Exactly(marker))
	other := broker.Native.Room("/", "other")
	subscribe(t, b, free, broker.Exactly(other), broker.Exactly(room))
	publish(t, b, room, "stuck")
	<-g.entered
	publish(t, b, room, "behind it")
	publish(t, b, room, "missed")
	publish(t, b, other, "goes on")
	if err := stuck.Remove(within(t, 20*time.Millisecond), broker.Exactly(room)); err != context.DeadlineExceeded {
		t.Fatalf("Remove: %v, want the context's error", err)
	}
	for _, text := range []string{"stuck", "behind it", "missed"} {
		free.want(room, text)
	}
	free.want(other, "goes on")
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

// TestOutagesOfAStuckReceiver: what waits for a receiver that does not return does not
// grow with every outage, and what it is known to have missed is counted all the same.
func TestOutagesOfAStuckReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	proxy := tcpproxy.Start(t, srv.Addr())
	opts := quick()
	opts.ReceiveBuffer, opts.SlowReceiver = 1, 10*time.Millisecond
	b, sender := open(t, "nats://"+proxy.Addr(), opts), open(t, srv.URL(), nil)
	g, free := newGate(t), record(t)
	subscribe(t, b, g, broker.Exactly(room))
	subscribe(t, b, free, broker.Exactly(marker))
	publish(t, sender, room, "first")
	<-g.entered
	publish(t, sender, room, "fills the buffer")
	const outages = 20
	for range outages {
		publish(t, sender, room, "missed")
		publish(t, sender, marker, "behind it")
		free.want(marker, "behind it")
		proxy.Cut()
		free.wantCall("interrupted")
		proxy.Heal()
		free.wantCall("resumed")
	}
	close(g.open)
	g.want(room, "first")
	g.want(room, "fills the buffer")
	c := g.wantCall("interrupted")
	var loss *broker.LossError
	if !errors.As(c.err, &loss) || loss.Messages != outages || loss.Bytes != outages*len("missed") || !errors.Is(c.err, natsbroker.ErrSlowReceiver) {
		t.Fatalf("Interrupted(%v), want %d messages missed", c.err, outages)
	}
	g.wantCall("resumed")
	publish(t, sender, room, "last")
	g.want(room, "last")
	if s := b.Stats(); s.Interruptions != outages+1 {
		t.Errorf("%d interruptions, want %d of one subscription and one of the other", s.Interruptions, outages)
	}
}

// stuck is a receiver that does not return.
type stuck struct{ release chan struct{} }

func (s *stuck) Deliver(broker.Channel, []byte) { <-s.release }
func (s *stuck) Interrupted(error)              {}
func (s *stuck) Resumed()                       {}

// TestSeveralStuckReceivers: that the connection waits for one receiver after the other is
// no sign of a dead server, for however long.
func TestSeveralStuckReceivers(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	opts := quick()
	opts.ReceiveBuffer, opts.SlowReceiver = 1000, time.Second // half of ProbeTimeout, that is
	b, other := open(t, srv.URL(), opts), open(t, srv.URL(), quick())
	s := &stuck{make(chan struct{})}
	defer close(s.release)
	for range 4 {
		subscribe(t, b, s, broker.Exactly(room))
	}
	r := record(t)
	sound := broker.Native.Requests("/sound")
	subscribe(t, b, r, broker.Exactly(sound))
	for range 3 { // one is being delivered, one fills the buffer, one has to wait
		publish(t, other, room, strings.Repeat("x", 1000))
	}
	for _, text := range []string{"one", "two"} {
		publish(t, other, sound, text)
		flush(t, other)
		r.want(sound, text)
	}
}
