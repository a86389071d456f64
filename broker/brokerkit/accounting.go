package brokerkit

import (
	"context"
	"sync"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

// Size is the size of a message, in bytes.
type Size struct {
	// Payload is the length of the publisher's payload. Stats and losses count it.
	Payload int
	// Wire is the length of the encoded message. The limits of the outbox count it.
	Wire int
}

// accounting counts the held, sent and lost messages of an outbox, and the callers that wait for them. Every message
// is accepted once and settled once, in the same order: by sent, lose or forward.
//
// The caller of each method holds the outbox's mutex, except for wait, takeReports and fill, which lock it themselves.
type accounting struct {
	mu                    *sync.Mutex
	maxMessages, maxBytes int

	held     tally
	wire     int // bytes held
	accepted uint64
	settled  uint64
	sentN    uint64
	forwards uint64 // settled by forward
	losses   losses
	reported losses // returned by a Flush
	barriers queue.FIFO[*barrier]
	reports  []broker.Loss // since the last call of takeReports
	waiting  bool          // a publisher waits for room
	room     chan struct{} // closed and replaced when there is room
	closed   bool
	closing  chan struct{} // closed with closed
	// wake is called when a publisher begins to wait.
	wake func()
}

// newAccounting returns the accounting of an empty outbox, guarded by mu, with limits for messages and for bytes on
// the wire. A message larger than the limit is admitted alone.
func newAccounting(mu *sync.Mutex, messages, bytes int, wake func()) accounting {
	return accounting{mu: mu, maxMessages: messages, maxBytes: bytes, room: make(chan struct{}), closing: make(chan struct{}), wake: wake}
}

// admit waits until there is room for a message. It unlocks the mutex while it waits. It returns the error of ctx, or
// broker.ErrClosed.
func (a *accounting) admit(ctx context.Context, size Size) error {
	for a.full(size) && !a.closed {
		if err := a.waitForRoom(ctx); err != nil {
			return err
		}
	}
	if a.closed {
		return broker.ErrClosed
	}
	return nil
}

func (a *accounting) full(size Size) bool {
	return a.held.messages > 0 && (a.held.messages >= a.maxMessages || a.wire+size.Wire > a.maxBytes)
}

// waitForRoom waits until there may be room.
func (a *accounting) waitForRoom(ctx context.Context) error {
	a.waiting = true
	a.wake()
	room := a.room
	a.mu.Unlock()
	defer a.mu.Lock()
	select {
	case <-room:
	case <-a.closing:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// accept counts a message that was admitted, without unlocking the mutex in between.
func (a *accounting) accept(size Size) {
	a.accepted++
	a.held.add(size.Payload)
	a.wire += size.Wire
}

// sent settles the next message: the system has it.
func (a *accounting) sent(size Size) {
	a.settle(size)
	a.sentN++
}

// forward settles the next message: another outbox has accepted it.
func (a *accounting) forward(size Size) {
	a.settle(size)
	a.forwards++
}

// lose settles the next message as lost because of err. If uncertain, the message may have been sent.
func (a *accounting) lose(size Size, uncertain bool, err error) {
	a.pass() // barriers before this loss do not report it
	a.settle(size)
	a.losses.add(size.Payload, uncertain, err)
	a.pass()
	if n := len(a.reports); n > 0 && a.reports[n-1].Uncertain == uncertain && sameError(a.reports[n-1].Err, err) {
		a.reports[n-1].Messages++
		a.reports[n-1].Bytes += size.Payload
		return
	}
	a.reports = append(a.reports, broker.Loss{Messages: 1, Bytes: size.Payload, Uncertain: uncertain, Err: err})
}

// sameError reports whether two losses have the same cause and are one report.
func sameError(a, b error) bool { return a == b || a.Error() == b.Error() }

func (a *accounting) settle(size Size) {
	a.held.messages--
	a.held.bytes -= size.Payload
	a.wire -= size.Wire
	a.settled++
}

// notify wakes the publishers and Flush calls whose messages are settled. It is called after sent and lose, once for
// many messages.
func (a *accounting) notify() {
	a.pass()
	// Waiting publishers are woken when half of the outbox is free, all at once:
	// waking each for one free place costs more than sending.
	if a.waiting && a.held.messages <= a.maxMessages/2 && a.wire <= a.maxBytes/2 {
		a.waiting = false
		close(a.room)
		a.room = make(chan struct{})
	}
}

// awaited reports whether a publisher, a Flush or Close waits for messages to be settled.
func (a *accounting) awaited() bool { return a.closed || a.waiting || a.barriers.Len() > 0 }

// shut makes admit fail.
func (a *accounting) shut() {
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
}

// done reports whether shut was called and all messages are settled.
func (a *accounting) done() bool { return a.closed && a.held.messages == 0 }

// takeReports returns the losses since the last call. Consecutive losses of one cause are
// one report.
func (a *accounting) takeReports() []broker.Loss {
	a.mu.Lock()
	defer a.mu.Unlock()
	reports := a.reports
	a.reports = nil
	return reports
}

// fill writes the counters of publishing into s.
func (a *accounting) fill(s *broker.Stats) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Accepted = a.accepted - a.forwards
	s.Sent = a.sentN
	s.Lost = uint64(a.losses.lost.messages)
	s.Uncertain = uint64(a.losses.uncertain.messages)
	s.QueuedMessages, s.QueuedBytes = a.held.messages, a.held.bytes
}

// barrier marks a place behind all messages that were accepted before it, for a Flush or a Close.
type barrier struct {
	target uint64 // passed when this many messages are settled
	before losses
	done   chan struct{} // closed when it is passed
	// err is valid after done is closed. It has the losses before the barrier that no earlier barrier reported: a
	// *broker.LossError, or nil. A barrier counts as earlier if it was passed before this one was added.
	err error
}

// addBarrier adds a barrier behind all accepted messages.
func (a *accounting) addBarrier() *barrier {
	b := &barrier{target: a.accepted, before: a.reported, done: make(chan struct{})}
	a.barriers.Push(b)
	a.pass()
	return b
}

// pass marks the barriers as passed that have only settled messages before them.
func (a *accounting) pass() {
	for a.barriers.Len() > 0 && (*a.barriers.Front()).target <= a.settled {
		b := a.barriers.Pop()
		b.err = a.losses.since(b.before)
		a.reported = a.losses
		close(b.done)
	}
}

// wait waits for a barrier and returns its error. If ctx ends first, it removes the barrier and returns the error of
// ctx; the next barrier then reports its losses.
func (a *accounting) wait(ctx context.Context, b *barrier) error {
	if lifecycle.Wait(ctx, b.done) == nil {
		return b.err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	default:
		a.barriers.Keep(func(other **barrier) bool { return *other != b })
		return ctx.Err()
	}
}

// tally counts messages and their payloads.
type tally struct{ messages, bytes int }

func (t *tally) add(payload int) { t.messages++; t.bytes += payload }

func (t tally) minus(u tally) tally {
	return tally{t.messages - u.messages, t.bytes - u.bytes}
}

// losses are the losses so far, certain and uncertain.
type losses struct {
	lost, uncertain tally
	err             error // of the last loss
}

func (l *losses) add(payload int, uncertain bool, err error) {
	if uncertain {
		l.uncertain.add(payload)
	} else {
		l.lost.add(payload)
	}
	l.err = err
}

// since returns the losses of l that earlier does not have as an error, or nil.
func (l losses) since(earlier losses) error {
	lost, uncertain := l.lost.minus(earlier.lost), l.uncertain.minus(earlier.uncertain)
	if lost.messages+uncertain.messages == 0 {
		return nil
	}
	return &broker.LossError{Loss: broker.Loss{
		Messages:  lost.messages + uncertain.messages,
		Bytes:     lost.bytes + uncertain.bytes,
		Uncertain: uncertain.messages > 0,
		Err:       l.err,
	}}
}
