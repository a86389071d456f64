package memorybroker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Broker connects one node to a Bus. It implements broker.Broker. Package memorytest injects faults into it for tests.
// It is safe for concurrent use.
type Broker struct {
	bus *Bus

	// direct: Publish does not need mu, because the link is up, the outbox empty and the broker open.
	direct      atomic.Bool
	unreachable atomic.Bool // not counted by others: the link is cut

	accepted, sent atomic.Uint64 // without the outbox
	counts         *inbox.Counts
	out            *brokerkit.Outbox[broker.Channel]
	queueing       sync.RWMutex // held while a message is put into the outbox

	// stopped ends when the context of Close ends, and with Kill.
	stopped context.Context
	stop    context.CancelFunc

	mu      sync.Mutex
	subs    map[*subscription]struct{}
	cut     bool
	frozen  bool
	closing bool
	killed  bool
	changed chan struct{} // closed at the next change of state; nil if no call waits

	once *lifecycle.Once // of Close
}

var _ broker.Broker = (*Broker)(nil)

func newBroker(bus *Bus) *Broker {
	b := &Broker{
		bus:    bus,
		counts: inbox.NewCounts(),
		subs:   map[*subscription]struct{}{},
		once:   lifecycle.NewOnce(),
	}
	b.stopped, b.stop = context.WithCancel(context.Background())
	b.out = newOutbox(b)
	b.direct.Store(true)
	return b
}

// Capabilities implements broker.Broker: the broker counts subscribers, lists responders, reconnects and keeps order
// across channels. OnlyCrossroom is true.
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

// Publish implements broker.Broker. It waits for slow receivers for at most Options.SlowReceiver. If ctx ends during
// that wait, the slow receivers miss the message and are notified, and Publish returns nil.
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
	if b.direct.Load() {
		return b.publish(ctx, ch, payload)
	}
	return b.enqueue(ctx, ch, payload)
}

// publish passes a message to the bus, without the outbox.
func (b *Broker) publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	b.accepted.Add(1)
	b.bus.publish(ctx, b.stopped, ch, payload)
	b.sent.Add(1)
	return nil
}

// Subscribe implements broker.Broker. It waits while the link is cut or the node is frozen.
func (b *Broker) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if r == nil {
		return nil, errors.New("memory broker: Subscribe: receiver is nil")
	}
	s := newSubscription(b, r)
	if err := b.subscribe(ctx, s, filters); err != nil {
		return nil, err
	}
	return s, nil
}

// subscribe adds filters to s, and adds s to the broker if it is new.
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
	if s.in.IsShut() {
		return broker.ErrClosed
	}
	b.bus.add(s, filters)
	if _, ok := b.subs[s]; !ok {
		b.subs[s] = struct{}{}
		go s.run() // its Close and the broker's Close wait for it
	}
	return nil
}

// forget removes a stopped subscription.
func (b *Broker) forget(s *subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}

// Subscribers implements broker.Broker. It counts frozen nodes, but not those whose link is cut. It waits while this
// broker's own link is cut or its node is frozen.
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

// Responders implements broker.Broker. It lists the nodes that Subscribers counts, and waits like it.
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

// lockReachable locks mu when the node is neither cut off nor frozen. After an error mu is not locked.
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

// waitChange waits for the next change of state or the end of ctx. The caller holds mu, which is unlocked during the
// wait.
func (b *Broker) waitChange(ctx context.Context) error {
	changed := b.nextChange()
	b.mu.Unlock()
	defer b.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nextChange returns a channel that is closed at the next change of state. The caller holds mu.
func (b *Broker) nextChange() <-chan struct{} {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// change wakes all calls that wait for a change of state. The caller holds mu.
func (b *Broker) change() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Stats implements broker.Broker.
func (b *Broker) Stats() broker.Stats {
	var st broker.Stats
	b.out.Fill(&st)
	b.counts.Fill(&st)
	st.Sent += b.sent.Load()
	st.Accepted += b.accepted.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bus.mu.RLock()
	defer b.bus.mu.RUnlock()
	for s := range b.subs {
		st.Subscriptions += len(s.filters)
	}
	return st
}

// OnLoss implements broker.Broker.
func (b *Broker) OnLoss(f func(broker.Loss)) (stop func()) {
	return b.out.OnLoss(func(loss broker.Loss) {
		b.mu.Lock()
		killed := b.killed
		b.mu.Unlock()
		if !killed {
			f(loss)
		}
	})
}
