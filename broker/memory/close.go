package memorybroker

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// Close implements broker.Broker. If the link is cut or the node frozen, it waits until the messages in the outbox are
// sent or too old, or ctx ends. It also waits until running calls of receivers have returned, or ctx ends.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closing = true
	b.direct.Store(false)
	b.change()
	b.mu.Unlock()
	return b.once.Do(ctx, b.shutDown)
}

// shutDown flushes the outbox, ends the subscriptions and waits for goroutines. After ctx it waits only for its own
// goroutines, not for receivers that do not return.
func (b *Broker) shutDown(ctx context.Context) error {
	stopped := context.AfterFunc(ctx, b.stop)
	err := b.out.Close(ctx)
	stopped()
	b.stop()
	b.mu.Lock()
	if loss := (*broker.LossError)(nil); b.killed && errors.As(err, &loss) {
		err = nil // losses of Kill are not reported
	}
	b.change()
	subs := b.allSubs()
	b.mu.Unlock()
	ended := make([]<-chan struct{}, len(subs))
	for i, s := range subs {
		b.bus.removeAll(s)
		ended[i] = s.in.Done()
	}
	return lifecycle.Join(err, lifecycle.Wait(ctx, ended...))
}

// allSubs lists the subscriptions whose goroutines may still run. The caller holds mu.
func (b *Broker) allSubs() []*subscription {
	subs := make([]*subscription, 0, len(b.subs))
	for s := range b.subs {
		subs = append(subs, s)
	}
	return subs
}

// gone reports that it is too late for faults. The caller holds mu.
func (b *Broker) gone() bool { return b.killed || b.stopped.Err() != nil || b.out.Done() }
