package memorybroker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/closing"
	"github.com/crossroom/crossroom/broker/internal/lossfeed"
)

// Broker is one node's place on a Bus. It implements broker.Broker. Package
// memorytest makes it fail for tests. Safe for concurrent use.
type Broker struct {
	bus *Bus

	// direct: Publish need not take mu: the link is up, the outbox empty, the
	// broker open.
	direct      atomic.Bool
	unreachable atomic.Bool // not counted by others: link cut

	accepted, sent, received, interruptions atomic.Uint64
	interruptedFor                          atomic.Int64 // nanoseconds of finished ones

	stop chan struct{} // closed when Close stops at once, and by Kill

	mu      sync.Mutex
	subs    map[*subscription]struct{}
	cut     bool
	frozen  bool
	closing bool
	stopped bool // stop is closed
	killed  bool
	changed chan struct{} // closed at the next change of state; nil if nobody waits
	outbox  outbox
	losses  lossfeed.Listeners

	once *closing.Once // of Close
}

var _ broker.Broker = (*Broker)(nil)

func newBroker(bus *Bus) *Broker {
	b := &Broker{
		bus:  bus,
		stop: make(chan struct{}),
		subs: map[*subscription]struct{}{},
		once: closing.NewOnce(),
	}
	b.outbox.wake = make(chan struct{}, 1)
	b.direct.Store(true)
	return b
}

// Capabilities implements broker.Broker.
func (b *Broker) Capabilities() broker.Capabilities {
	return broker.Capabilities{
		Name:                "memory",
		MaxPayload:          b.bus.opts.MaxPayload,
		CountsSubscribers:   true,
		ListsResponders:     true,
		OrderAcrossChannels: true,
		Reconnects:          true,
		OnlyCrossroom:       true,
	}
}

// Publish implements broker.Broker. It waits for the receivers of others only as
// Options.SlowReceiver says; if ctx ends in that wait, the slow ones miss the
// message and are told, and Publish returns nil.
func (b *Broker) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ch.Validate(); err != nil {
		return err
	}
	if limit := b.bus.opts.MaxPayload; limit > 0 && len(payload) > limit {
		return &broker.PayloadError{Size: len(payload), Max: limit}
	}
	if !b.direct.Load() {
		queued, err := b.enqueue(ctx, ch, payload)
		if queued || err != nil {
			return err
		}
	}
	b.accepted.Add(1)
	b.bus.publish(ch, payload, false, ctx.Done(), b.stop)
	b.sent.Add(1)
	return nil
}

// Subscribe implements broker.Broker. While the link is cut it waits.
func (b *Broker) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if r == nil {
		return nil, errors.New("memory broker: nil receiver")
	}
	s := newSubscription(b, r)
	if err := b.subscribe(ctx, s, filters); err != nil {
		return nil, err
	}
	return s, nil
}

// subscribe adds filters to s, and s to the broker if it is new.
func (b *Broker) subscribe(ctx context.Context, s *subscription, filters []broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range filters {
		if err := f.Channel().Validate(); err != nil {
			return err
		}
	}
	if err := b.lockReachable(ctx); err != nil {
		return err
	}
	defer b.mu.Unlock()
	if s.isStopped() {
		return broker.ErrClosed
	}
	b.bus.add(s, filters)
	if _, ok := b.subs[s]; !ok {
		b.subs[s] = struct{}{}
		go s.run() // waited for by its Close and by the broker's
	}
	return nil
}

// forget drops a subscription that is stopped.
func (b *Broker) forget(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}

// Subscribers implements broker.Broker. Nodes whose link is cut do not
// count; frozen ones do. While this broker's own link is cut it waits.
func (b *Broker) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, ch := range channels {
		if err := ch.Validate(); err != nil {
			return nil, err
		}
	}
	if err := b.lockReachable(ctx); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	counts := make([]int, len(channels))
	for i, ch := range channels {
		counts[i] = b.bus.subscribers(ch)
	}
	return counts, nil
}

// Responders implements broker.Broker, on the same terms as Subscribers.
func (b *Broker) Responders(ctx context.Context, w broker.Protocol, ns string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := w.Broadcast(ns).Validate(); err != nil {
		return nil, err
	}
	if err := b.lockReachable(ctx); err != nil {
		return nil, err
	}
	defer b.mu.Unlock()
	return b.bus.responders(w, ns), nil
}

// lockReachable takes mu when the node is neither cut off nor frozen. On error it
// is not taken.
func (b *Broker) lockReachable(ctx context.Context) error {
	b.mu.Lock()
	for !b.closing && (b.cut || b.frozen) {
		if err := b.waitChange(ctx); err != nil {
			b.mu.Unlock()
			return err
		}
	}
	if b.closing {
		b.mu.Unlock()
		return broker.ErrClosed
	}
	return nil
}

// waitChange waits for the next change of state or the end of ctx. mu is held when
// it is called and when it returns, not in between.
func (b *Broker) waitChange(ctx context.Context) error {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	changed := b.changed
	b.mu.Unlock()
	defer b.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change wakes all who wait for a change of state, and the outbox's goroutine. mu
// is held.
func (b *Broker) change() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	select {
	case b.outbox.wake <- struct{}{}:
	default:
	}
}

// Stats implements broker.Broker. Interrupted adds up over subscriptions.
func (b *Broker) Stats() broker.Stats {
	st := broker.Stats{
		Sent:          b.sent.Load(),
		Received:      b.received.Load(),
		Interruptions: b.interruptions.Load(),
		Interrupted:   time.Duration(b.interruptedFor.Load()),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	st.Accepted = b.accepted.Load()
	st.Lost = b.outbox.lost.messages
	st.QueuedMessages, st.QueuedBytes = b.outbox.queued()
	for s := range b.subs {
		s.mu.Lock()
		st.Subscriptions += len(s.filters)
		if !s.interrupted.IsZero() {
			st.Interrupted += time.Since(s.interrupted)
		}
		s.mu.Unlock()
	}
	return st
}

// OnLoss implements broker.Broker.
func (b *Broker) OnLoss(f func(broker.Loss)) (stop func()) { return b.losses.Add(f) }
