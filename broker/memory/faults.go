package memorybroker

import "errors"

// ErrInterrupted is what receivers are told by Interrupt(nil).
var ErrInterrupted = errors.New("memory broker: link interrupted")

// Interrupt cuts the node's link, as a lost connection does. Its subscriptions miss
// what is published from now on and are told so, in its place; others do not count
// them. What the node publishes waits in its outbox. Its calls of Subscribe, Add,
// Subscribers and Responders, and of Flush while the outbox has messages, wait for
// Resume or the end of their context.
//
// err is what receivers are told, ErrInterrupted if it is nil. On a node that is
// already cut off, or closed, Interrupt does nothing.
func (b *Broker) Interrupt(err error) {
	if err == nil {
		err = ErrInterrupted
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut || b.gone() {
		return
	}
	b.cut = true
	b.unreachable.Store(true)
	b.hold()
	for s := range b.subs {
		s.interrupt(err)
	}
}

// Resume ends what Interrupt began: all subscriptions are live again when it
// returns, and then the outbox is handed over, in order. Otherwise it does nothing.
func (b *Broker) Resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cut || b.gone() {
		return
	}
	for s := range b.subs {
		s.resume()
	}
	b.cut = false
	b.unreachable.Store(false)
	b.change()
}

// Freeze stops the node as SIGSTOP stops a process: its receivers are not called
// (a running call ends in its own time) and what it publishes waits in its outbox,
// but others still count its subscriptions, whose queues fill up. Calls that have
// to ask the bus wait, as with Interrupt.
func (b *Broker) Freeze() { b.setFrozen(true) }

// Thaw ends what Freeze began. Nothing was missed unless a queue overflowed.
func (b *Broker) Thaw() { b.setFrozen(false) }

func (b *Broker) setFrozen(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.frozen == on || b.gone() {
		return
	}
	b.frozen = on
	if on {
		b.hold()
	}
	for s := range b.subs {
		s.freeze(on)
	}
	b.change()
}

// Kill makes the node vanish without goodbye: its subscriptions are gone when it
// returns, its outbox is lost without a word to OnLoss, and all calls that wait
// return broker.ErrClosed, as do later ones. A call of a receiver that is running or
// just beginning is not waited for, so receivers may call Kill; Close waits.
func (b *Broker) Kill() {
	b.mu.Lock()
	b.killed = true
	b.closing = true
	b.direct.Store(false)
	b.stopNow()
	subs := b.allSubs()
	b.mu.Unlock()
	for _, s := range subs {
		b.bus.removeAll(s)
	}
}
