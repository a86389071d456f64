package inbox

import (
	"errors"

	"github.com/crossroom/crossroom/broker"
)

// gap is why Interrupted is to be called. Gaps with no message between them are one to
// the receiver: so if it is stuck through many outages, no more than one waits behind
// each message, of which there is a limited number.
type gap struct {
	cause error       // of an outage, the first; nil if there was none
	lost  broker.Loss // what is known to be missed; its Err has all reasons
}

// reason is what the receiver is told.
func (g *gap) reason() error {
	if g.lost.Messages == 0 {
		return g.cause
	}
	lost := g.lost
	if g.cause != nil {
		lost.Err = errors.Join(g.cause, lost.Err)
	}
	return &broker.LossError{Loss: lost}
}

// add makes h part of g.
func (g *gap) add(h *gap) {
	if g.cause == nil {
		g.cause = h.cause
	}
	g.lost.Messages += h.lost.Messages
	g.lost.Bytes += h.lost.Bytes
	switch {
	case g.lost.Err == nil:
		g.lost.Err = h.lost.Err
	case h.lost.Err != nil && !errors.Is(g.lost.Err, h.lost.Err):
		g.lost.Err = errors.Join(g.lost.Err, h.lost.Err)
	}
}

// Interrupt queues a call of Interrupted, whatever else waits, and Resume one of
// Resumed. A gap that follows another one directly becomes part of it.
func (in *Inbox) Interrupt(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.shut {
		return
	}
	in.reportMissed()
	in.begin()
	if g := (&gap{cause: err}); !in.join(g) {
		in.push(event{gap: g})
	}
}

// Resume ends what Interrupt began.
func (in *Inbox) Resume() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.shut {
		return
	}
	in.end()
	in.push(event{})
}

// Miss reports a message to the receiver, of so many bytes, that it will not get, because
// of err, in its place among the others. err is one of few: gaps that become one keep
// each.
func (in *Inbox) Miss(payload int, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	one := broker.Loss{Messages: 1, Bytes: payload, Err: err}
	switch {
	case in.shut:
	case in.missed.Messages > 0: // reported together with those
		in.missed.Messages++
		in.missed.Bytes += payload
	default:
		in.report(one)
	}
}

// halfEmpty reports what was missed while the inbox was full, if half of it is free. It
// all came after what is queued and before what will be. mu is held.
func (in *Inbox) halfEmpty() {
	if in.atMost(2) {
		in.reportMissed()
	}
}

func (in *Inbox) reportMissed() {
	if in.missed.Messages == 0 {
		return
	}
	lost := in.missed
	lost.Err = in.opts.Slow
	in.missed = broker.Loss{}
	in.end()
	in.report(lost)
}

// report queues a gap, with its end. mu is held.
func (in *Inbox) report(lost broker.Loss) {
	if g := (&gap{lost: lost}); !in.join(g) {
		in.push(event{gap: g})
	}
	in.push(event{})
}

// join makes g part of the gap at the end of the queue, whose end it takes out; it
// reports false if there is none. mu is held.
func (in *Inbox) join(g *gap) bool {
	if in.queue.Len() == 0 || !in.queue.Back().isResumed() {
		return false
	}
	end := in.queue.PopBack()
	if in.queue.Len() > 0 && in.queue.Back().gap != nil {
		in.queue.Back().gap.add(g)
		return true
	}
	if g.lost.Messages == 0 {
		return true // of the gap the receiver knows, not yet of its end
	}
	in.queue.Push(end)
	return false
}

// begin and end note that the receiver misses something, and that it does no longer. mu
// is held.
func (in *Inbox) begin() {
	if !in.down {
		in.down = true
		in.opts.Counts.began()
	}
}

func (in *Inbox) end() {
	if in.down {
		in.down = false
		in.opts.Counts.ended()
	}
}
