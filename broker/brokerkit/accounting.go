package brokerkit

import (
	"context"
	"sync"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

// Size is what a message counts for, in bytes.
type Size struct {
	// Payload is what the publisher gave. Stats and losses count it.
	Payload int
	// Wire is the length of the encoded message. The limits of the outbox are for that.
	Wire int
}

// accounting counts what an outbox holds, sent and lost, and knows who waits for that.
// Every message is accepted once and settled once, in the same order: by sent or by lose.
//
// The outbox's mutex must be held for all methods, except wait, takeReports and fill, which
// lock it themselves.
type accounting struct {
	mu                    *sync.Mutex
	maxMessages, maxBytes int

	held     tally
	wire     int // bytes held
	accepted uint64
	settled  uint64
	sentN    uint64
	losses   losses
	reported losses // by a Flush
	barriers queue.FIFO[*barrier]
	reports  []broker.Loss // since the last call of takeReports
	waiting  bool          // a publisher waits for room
	room     chan struct{} // closed and replaced when there is room again
	closed   bool
	closing  chan struct{} // closed with closed
	// wake is called when a publisher begins to wait.
	wake func()
}

// newAccounting begins with an empty outbox that mu guards and that holds at most so many
// messages and bytes on the wire. A message that is larger than that is admitted alone.
func newAccounting(mu *sync.Mutex, messages, bytes int, wake func()) accounting {
	return accounting{mu: mu, maxMessages: messages, maxBytes: bytes, room: make(chan struct{}), closing: make(chan struct{}), wake: wake}
}

// admit waits until there is room for a message, and unlocks the mutex meanwhile. The
// error is that of ctx, or broker.ErrClosed.
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

// waitForRoom waits until there may be room again.
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

// accept takes in a message that was admitted, in the same hold of the mutex.
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

// lose settles the next message as lost because of err or, if uncertain, perhaps lost.
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

// notify wakes the publishers and Flush calls that waited for what was settled. It is
// called after sent and lose, once for many of them.
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

// shut lets nothing more in.
func (a *accounting) shut() {
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
}

// done reports whether shut was called and all is settled.
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
	s.Accepted = a.accepted
	s.Sent = a.sentN
	s.Lost = uint64(a.losses.lost.messages)
	s.Uncertain = uint64(a.losses.uncertain.messages)
	s.QueuedMessages, s.QueuedBytes = a.held.messages, a.held.bytes
}

// barrier stands behind all messages that were accepted before it, for a Flush or a Close.
type barrier struct {
	target uint64 // passed when so many messages are settled
	before losses
	done   chan struct{} // closed when it is passed
	// err is, after done is closed, what was lost before the barrier and not reported by one
	// that was passed earlier than this one was added: a *broker.LossError, or nil.
	err error
}

// addBarrier adds a barrier behind everything accepted so far.
func (a *accounting) addBarrier() *barrier {
	b := &barrier{target: a.accepted, before: a.reported, done: make(chan struct{})}
	a.barriers.Push(b)
	a.pass()
	return b
}

// pass lets those barriers pass before which everything is settled.
func (a *accounting) pass() {
	for a.barriers.Len() > 0 && (*a.barriers.Front()).target <= a.settled {
		b := a.barriers.Pop()
		b.err = a.losses.since(b.before)
		a.reported = a.losses
		close(b.done)
	}
}

// wait waits for a barrier and returns its error. If ctx ends before, it removes the
// barrier and returns the error of ctx: the next barrier reports what this one would have.
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

// losses are what was lost so far, for certain and perhaps.
type losses struct {
	lost, uncertain tally
	err             error // of the last one
}

func (l *losses) add(payload int, uncertain bool, err error) {
	if uncertain {
		l.uncertain.add(payload)
	} else {
		l.lost.add(payload)
	}
	l.err = err
}

// since returns what l has more than earlier as an error, nil if nothing.
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
