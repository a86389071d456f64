package memorybroker

import "context"

// Close implements broker.Broker. While the link is cut it waits for it to
// come back, until ctx ends or the messages in the outbox are too old. Calls after
// the first wait for it to finish and return the same.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closing = true
	b.direct.Store(false)
	b.change()
	b.mu.Unlock()
	return b.once.Do(ctx, b.shutDown)
}

// shutDown hands over the outbox, ends the subscriptions and waits for goroutines.
// After ctx it waits only for its own, not for receivers that do not return.
func (b *Broker) shutDown(ctx context.Context) error {
	b.mu.Lock()
	before, drained, quiet := b.outbox.told, b.outbox.done, b.killed
	b.mu.Unlock()

	var stopped error
	if drained != nil {
		select {
		case <-drained:
		case <-ctx.Done():
			stopped = ctx.Err()
			b.mu.Lock()
			b.stopNow()
			b.mu.Unlock()
			<-drained // it does not wait any more
		}
	}

	b.mu.Lock()
	b.stopNow()
	subs := b.allSubs()
	b.mu.Unlock()
	for _, s := range subs {
		b.bus.removeAll(s)
	}
	for _, s := range subs {
		select {
		case <-s.done:
		case <-ctx.Done():
			stopped = ctx.Err()
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	if quiet {
		return stopped
	}
	why := stopped
	if why == nil {
		why = errTooOld
	}
	if err := b.outbox.untold(before, why); err != nil {
		return err
	}
	return stopped
}

// stopNow ends every wait that is the broker's own. mu is held.
func (b *Broker) stopNow() {
	if !b.stopped {
		b.stopped = true
		close(b.stop)
	}
	b.change()
}

// allSubs lists the subscriptions whose goroutines may still run. mu is held.
func (b *Broker) allSubs() []*subscription {
	subs := make([]*subscription, 0, len(b.subs))
	for s := range b.subs {
		subs = append(subs, s)
	}
	return subs
}

// gone says that it is too late for faults. mu is held.
func (b *Broker) gone() bool {
	return b.killed || b.stopped || b.closing && b.outbox.done == nil
}
