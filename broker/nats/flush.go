package natsbroker

import (
	"context"

	"github.com/crossroom/crossroom/broker"
)

// tally counts messages and their payloads.
type tally struct{ messages, bytes int }

func (t *tally) add(size int) { t.messages++; t.bytes += size }

func (t tally) minus(u tally) tally {
	return tally{t.messages - u.messages, t.bytes - u.bytes}
}

// losses are what was lost so far, for certain and perhaps.
type losses struct {
	lost, uncertain tally
	err             error // of the last one
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

// barrier is a Flush in progress.
type barrier struct {
	target uint64 // done when so many messages are settled
	before losses
	done   chan struct{}
	err    error // after done is closed
}

// flush waits until everything accepted so far is settled. What it returns no
// later flush returns again.
func (o *outbox) flush(ctx context.Context) error {
	o.mu.Lock()
	if o.closing {
		o.mu.Unlock()
		return broker.ErrClosed
	}
	b := o.barrier()
	o.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-b.done:
		return b.err
	default:
		// What it would have told is left for the next one.
		o.barriers.keep(func(other **barrier) bool { return *other != b })
		return ctx.Err()
	}
}

// barrier puts a barrier behind everything accepted so far. mu is held.
func (o *outbox) barrier() *barrier {
	b := &barrier{target: o.accepted, before: o.told, done: make(chan struct{})}
	o.barriers.push(b)
	o.barriersUpTo(o.settled)
	o.wake() // to ask the server
	return b
}

// barriersUpTo lets those pass who waited for so many messages. mu is held.
func (o *outbox) barriersUpTo(settled uint64) {
	for o.barriers.len() > 0 && (*o.barriers.front()).target <= settled {
		b := o.barriers.pop()
		b.err = o.losses.since(b.before)
		o.told = o.losses
		close(b.done)
	}
}
