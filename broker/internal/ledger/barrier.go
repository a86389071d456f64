package ledger

import (
	"context"

	"github.com/crossroom/crossroom/broker"
)

// Barrier stands behind everything that was accepted before it, for a Flush or a Close
// in progress.
type Barrier struct {
	target uint64 // passed when so many messages are settled
	before losses
	done   chan struct{}
	err    error // after done is closed
}

// Done returns a channel that is closed when the barrier is passed.
func (b *Barrier) Done() <-chan struct{} { return b.done }

// Err returns what was lost before the barrier, and no barrier that was passed earlier
// than this one was put up has told, as a *broker.LossError; nil if nothing was. It is
// for after Done.
func (b *Barrier) Err() error { return b.err }

// Barrier puts a barrier behind everything accepted so far. After Close it returns
// broker.ErrClosed.
func (l *Ledger) Barrier() (*Barrier, error) {
	if l.closed {
		return nil, broker.ErrClosed
	}
	return l.barrier(), nil
}

func (l *Ledger) barrier() *Barrier {
	b := &Barrier{target: l.accepted, before: l.told, done: make(chan struct{})}
	l.barriers.Push(b)
	l.pass()
	return b
}

// pass lets those barriers pass before which everything is settled.
func (l *Ledger) pass() {
	for l.barriers.Len() > 0 && (*l.barriers.Front()).target <= l.settled {
		b := l.barriers.Pop()
		b.err = l.losses.since(b.before)
		l.told = l.losses
		close(b.done)
	}
}

// Wait waits for a barrier and returns its Err. If ctx ends before, it takes the barrier
// away and returns the error of ctx: what the barrier would have told is left for the
// next one.
func (l *Ledger) Wait(ctx context.Context, b *Barrier) error {
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	default:
		l.barriers.Keep(func(other **Barrier) bool { return *other != b })
		return ctx.Err()
	}
}
