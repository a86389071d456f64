package inbox

import (
	"errors"

	"github.com/crossroom/crossroom/broker"
)

// gap is the cause of a call of Interrupted. Gaps without a message between them are one gap for the receiver. So if
// the receiver blocks through many outages, at most one gap waits behind each message, and messages are limited.
type gap struct {
	cause error       // the first outage; nil if there was none
	lost  broker.Loss // the messages known to be missed; its Err has all reasons
}

// reason returns the argument of Interrupted.
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

// Interrupt queues a call of Interrupted, however full the queue is; Resume queues one of Resumed. A gap that directly
// follows another becomes part of it.
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

// Resume ends the interruption.
func (in *Inbox) Resume() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.shut {
		return
	}
	in.end()
	in.push(event{})
}

// Miss notifies the receiver, in order, of a message of payload bytes that it will not get, because of err. There must
// be few different errors: joined gaps keep each.
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

// halfEmpty reports the messages that were missed while the inbox was full, if half of it is free. All of them came
// after the queued messages and before the next. The caller holds mu.
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
	lost.Err = broker.ErrSlowReceiver
	in.missed = broker.Loss{}
	in.end()
	in.report(lost)
}

// report queues a gap and its end. The caller holds mu.
func (in *Inbox) report(lost broker.Loss) {
	if g := (&gap{lost: lost}); !in.join(g) {
		in.push(event{gap: g})
	}
	in.push(event{})
}

// partial reports whether the gap affects only some channels, which its cause names.
func (g *gap) partial() bool {
	_, ok := errors.AsType[*broker.GapError](g.cause)
	return ok
}

// join makes g part of the gap at the end of the queue, whose end it removes. It returns false if there is none, or if
// one of the two affects only some channels. The caller holds mu.
func (in *Inbox) join(g *gap) bool {
	if g.partial() || in.queue.Len() == 0 || !in.queue.Back().isResumed() {
		return false
	}
	end := in.queue.PopBack()
	switch {
	case in.queue.Len() == 0:
		if g.lost.Messages == 0 && !in.partial {
			return true // of the gap whose start was reported to the receiver, but not its end
		}
	case in.queue.Back().gap != nil && !in.queue.Back().gap.partial():
		in.queue.Back().gap.add(g)
		return true
	}
	in.queue.Push(end)
	return false
}

// begin and end count the time in which the receiver misses messages. The caller holds mu.
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
