// Package ledger keeps the books of an outbox: how much it holds, who waits for room in
// it, what was sent and what was lost, and which Flush is to be told of that. The outbox
// itself, which holds the messages, is each broker's own.
package ledger

import (
	"context"
	"sync"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

// Size is what a message counts for, in bytes.
type Size struct {
	// Payload is what the publisher gave; Stats and losses count it.
	Payload int
	// Wire is what the outbox holds of it; the outbox's limit is for that.
	Wire int
}

// Ledger keeps the books of one outbox. Every message is accepted once and settled
// once, in the same order: by Sent, or by Lose.
//
// The outbox's mutex guards it. Wait, News and Fill lock it themselves, Closing needs
// no lock; for all other methods it must be held.
type Ledger struct {
	mu                    *sync.Mutex
	maxMessages, maxBytes int

	held     tally
	wire     int // bytes held
	accepted uint64
	settled  uint64
	sent     uint64
	losses   losses
	told     losses // by a Flush
	barriers queue.FIFO[*Barrier]
	news     []broker.Loss // since the last call of News
	waiting  bool          // somebody waits for room
	room     chan struct{} // closed and replaced when there is room again
	closed   bool
	closing  chan struct{} // closed with closed
}

// New makes the books of an outbox that mu guards and that holds no more than so many
// messages and bytes on the wire. A message that is larger than that is let in alone.
func New(mu *sync.Mutex, messages, bytes int) Ledger {
	return Ledger{mu: mu, maxMessages: messages, maxBytes: bytes, room: make(chan struct{}), closing: make(chan struct{})}
}

// Admit waits until there is room for a message, and unlocks the mutex meanwhile. The
// error is that of ctx, or broker.ErrClosed.
func (l *Ledger) Admit(ctx context.Context, size Size) error {
	for l.full(size) && !l.closed {
		if err := l.waitForRoom(ctx); err != nil {
			return err
		}
	}
	if l.closed {
		return broker.ErrClosed
	}
	return nil
}

func (l *Ledger) full(size Size) bool {
	return l.held.messages > 0 && (l.held.messages >= l.maxMessages || l.wire+size.Wire > l.maxBytes)
}

// waitForRoom waits until there is room again, or might be.
func (l *Ledger) waitForRoom(ctx context.Context) error {
	l.waiting = true
	room := l.room
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-room:
	case <-l.closing:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Accept takes in a message that was admitted, in the same hold of the mutex.
func (l *Ledger) Accept(size Size) {
	l.accepted++
	l.held.add(size.Payload)
	l.wire += size.Wire
}

// Sent settles the next message: the system has it.
func (l *Ledger) Sent(size Size) {
	l.settle(size)
	l.sent++
}

// Lose settles the next message as lost because of err or, if uncertain, perhaps.
func (l *Ledger) Lose(size Size, uncertain bool, err error) {
	l.pass() // whom this loss does not concern any more
	l.settle(size)
	l.losses.add(size.Payload, uncertain, err)
	l.pass()
	if n := len(l.news); n > 0 && l.news[n-1].Uncertain == uncertain && sameError(l.news[n-1].Err, err) {
		l.news[n-1].Messages++
		l.news[n-1].Bytes += size.Payload
		return
	}
	l.news = append(l.news, broker.Loss{Messages: 1, Bytes: size.Payload, Uncertain: uncertain, Err: err})
}

// sameError reports whether two losses have the same cause and can be told together.
func sameError(a, b error) bool { return a == b || a.Error() == b.Error() }

func (l *Ledger) settle(size Size) {
	l.held.messages--
	l.held.bytes -= size.Payload
	l.wire -= size.Wire
	l.settled++
}

// Balance looks who waited for what was settled. It is to be called after Sent and
// Lose, once for many of them.
func (l *Ledger) Balance() {
	l.pass()
	// Waiting publishers are woken when half of the outbox is free, all at once:
	// waking each for one free place costs more than sending.
	if l.waiting && l.held.messages <= l.maxMessages/2 && l.wire <= l.maxBytes/2 {
		l.waiting = false
		close(l.room)
		l.room = make(chan struct{})
	}
}

// Settled returns how many messages are settled.
func (l *Ledger) Settled() uint64 { return l.settled }

// Awaited reports whether somebody waits for messages to be settled: for room, in a
// Flush, or to close.
func (l *Ledger) Awaited() bool { return l.closed || l.waiting || l.barriers.Len() > 0 }

// Close lets nothing more in. The barrier that it returns is passed when all is settled.
// It may be called once.
func (l *Ledger) Close() *Barrier {
	l.closed = true
	close(l.closing)
	return l.barrier()
}

// Closing returns a channel that Close closes.
func (l *Ledger) Closing() <-chan struct{} { return l.closing }

// Over reports whether Close was called and all is settled.
func (l *Ledger) Over() bool { return l.closed && l.held.messages == 0 }

// News returns the losses since the last call. Those of one cause, one after the other,
// are one.
func (l *Ledger) News() []broker.Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.news
	l.news = nil
	return news
}

// Fill writes the counters of publishing into s.
func (l *Ledger) Fill(s *broker.Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Accepted = l.accepted
	s.Sent = l.sent
	s.Lost = uint64(l.losses.lost.messages)
	s.Uncertain = uint64(l.losses.uncertain.messages)
	s.QueuedMessages, s.QueuedBytes = l.held.messages, l.held.bytes
}
