package memorybroker

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

// ErrTooOld is the reason of a loss: the message waited in the outbox for longer than Options.OutboxAge, because the
// node's link was cut or the node was frozen. It may arrive wrapped.
var ErrTooOld = errors.New("memory broker: waited too long in the outbox")

var errCut = errors.New("memory broker: link cut")

// newOutbox makes the outbox of a broker. It holds the messages that the node publishes while it is cut off or frozen,
// until they have been handed over.
func newOutbox(b *Broker) *brokerkit.Outbox[broker.Channel] {
	opts := &b.bus.opts
	age := opts.OutboxAge
	if age == 0 {
		age = -1
	}
	return brokerkit.NewOutbox[broker.Channel](brokerkit.OutboxOptions{
		Name: "memory broker", Messages: opts.OutboxMessages, Bytes: opts.OutboxBytes, Age: age, TooOld: ErrTooOld,
	}, link{b})
}

// enqueue puts a message into the outbox, or publishes it if that is possible meanwhile.
func (b *Broker) enqueue(ctx context.Context, ch broker.Channel, payload []byte) error {
	b.queueing.RLock()
	defer b.queueing.RUnlock()
	if b.direct.Load() {
		return b.publish(ctx, ch, payload)
	}
	size := brokerkit.Size{Payload: len(payload), Wire: len(payload)}
	return b.out.Put(ctx, size, ch.Clone(), func(buf []byte) []byte { return append(buf, payload...) })
}

// Flush implements broker.Broker.
func (b *Broker) Flush(ctx context.Context) error { return b.out.Flush(ctx) }

// link is the connection of a broker with its bus, for the outbox.
type link struct{ b *Broker }

// Connect implements brokerkit.Connector: it waits until the node is neither cut off nor
// frozen.
func (l link) Connect(ctx context.Context) (brokerkit.Connection, error) {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	for l.b.cut || l.b.frozen {
		if err := l.b.waitChange(ctx); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Serve implements brokerkit.Connection. It returns when the node is cut off or frozen, or when Publish does not need
// the outbox any more.
func (l link) Serve(ctx context.Context, _ time.Duration) error {
	l.b.out.Send(l, func() bool {
		changed := l.state()
		if changed == nil || l.b.goDirect() {
			return false
		}
		select {
		case <-l.b.out.Work():
		case <-changed:
		case <-ctx.Done():
			return false
		}
		return true
	})
	return nil
}

// state returns nil if the node is cut off or frozen, else a channel that is closed when that may have changed.
func (l link) state() <-chan struct{} {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.b.cut || l.b.frozen {
		return nil
	}
	return l.b.nextChange()
}

// Write implements brokerkit.Writer.
func (l link) Write(batch *brokerkit.Batch[broker.Channel]) (n int, err error) {
	for ch, payload := range batch.All() {
		if l.state() == nil {
			err = errCut
			break
		}
		l.b.bus.publish(l.b.stopped, l.b.stopped, ch, payload)
		n++
	}
	l.b.out.Settle(n, nil)
	return n, err
}

// goDirect makes Publish bypass the outbox if it is empty, and reports whether it did.
func (b *Broker) goDirect() bool {
	if !b.queueing.TryLock() {
		return false // the Put in progress wakes the sender
	}
	defer b.queueing.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut || b.frozen || b.closing || !b.out.Idle() {
		return false
	}
	b.direct.Store(true)
	return true
}
