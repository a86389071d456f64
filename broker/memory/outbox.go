package memorybroker

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/broker"
)

var (
	errTooOld  = errors.New("memory broker: waited too long in the outbox")
	errStopped = errors.New("memory broker: closed with messages in the outbox")
)

// batch is how many messages the outbox hands over before it looks around again.
const batch = 256

// outbox holds what is published while the node is cut off or frozen, and until
// that has been handed over. Guarded by Broker.mu, except wake.
type outbox struct {
	queue   ring[waiting]
	bytes   int           // in queue and in flight
	flight  int           // messages taken out but not yet handed over
	wake    chan struct{} // something has changed; has room for one
	done    chan struct{} // closed when the goroutine has ended; nil if it never began
	taken   uint64        // messages put into the queue since the beginning
	settled uint64        // of those, handed over or lost
	lost    tally         // since the beginning
	told    tally         // of those, returned as an error by Flush
}

type waiting struct {
	ch      broker.Channel
	payload []byte
	since   time.Time
}

type tally struct{ messages, bytes uint64 }

func (o *outbox) queued() (messages, bytes int) { return o.queue.len() + o.flight, o.bytes }

func (o *outbox) full(size int, opts *Options) bool {
	n, bytes := o.queued()
	return n > 0 && (n >= opts.OutboxMessages || bytes+size > opts.OutboxBytes)
}

func (o *outbox) push(ch broker.Channel, payload []byte) {
	o.queue.push(waiting{ch, payload, time.Now()})
	o.bytes += len(payload)
	o.taken++
}

// drop gives up the oldest messages as long as cond says so.
func (o *outbox) drop(cond func(*waiting) bool) broker.Loss {
	var loss broker.Loss
	for o.queue.len() > 0 && cond(o.queue.first()) {
		m := o.queue.pop()
		loss.Messages++
		loss.Bytes += len(m.payload)
	}
	o.bytes -= loss.Bytes
	o.settled += uint64(loss.Messages)
	o.lost.messages += uint64(loss.Messages)
	o.lost.bytes += uint64(loss.Bytes)
	return loss
}

// untold returns as an error what was lost and that no Flush has returned yet, and
// marks it as told.
func (o *outbox) untold(before tally, why error) error {
	n := o.lost.messages - before.messages
	if n == 0 {
		return nil
	}
	o.told = o.lost
	return &broker.LossError{Loss: broker.Loss{
		Messages: int(n), Bytes: int(o.lost.bytes - before.bytes), Err: why,
	}}
}

// enqueue puts a message into the outbox. It returns false if the message can go
// straight to the bus.
func (b *Broker) enqueue(ctx context.Context, ch broker.Channel, payload []byte) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.closing:
			return false, broker.ErrClosed
		case b.direct.Load():
			return false, nil
		case !b.outbox.full(len(payload), &b.bus.opts):
			p := make([]byte, len(payload))
			copy(p, payload)
			b.outbox.push(ch, p)
			b.accepted.Add(1)
			if b.outbox.queue.len() == 1 {
				b.change()
			}
			return true, nil
		}
		if err := b.waitChange(ctx); err != nil {
			return false, err
		}
	}
}

// Flush implements broker.Broker. A loss is returned by the first Flush that ends
// after it, and by those that were waiting at the same time.
func (b *Broker) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return broker.ErrClosed
	}
	target, before := b.outbox.taken, b.outbox.told
	for b.outbox.settled < target {
		if err := b.waitChange(ctx); err != nil {
			return err
		}
	}
	return b.outbox.untold(before, errTooOld)
}

// hold makes Publish use the outbox from now on, and starts its goroutine the first
// time. mu is held.
func (b *Broker) hold() {
	b.direct.Store(false)
	if b.outbox.done == nil {
		b.outbox.done = make(chan struct{})
		go b.drain() // waited for by Close
	}
}

// drain is the outbox's goroutine: it hands over what is in the outbox when the
// node is neither cut off nor frozen, gives up what is too old, and tells of losses.
func (b *Broker) drain() {
	defer close(b.outbox.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	messages := make([]waiting, 0, batch)
	for {
		b.mu.Lock()
		loss, next := b.expire()
		messages = b.take(messages[:0])
		ended := b.closing && len(messages) == 0 && b.outbox.queue.len() == 0
		if !ended && len(messages) == 0 && !b.cut && !b.frozen && !b.closing {
			b.direct.Store(true)
		}
		quiet := b.killed
		b.mu.Unlock()

		if loss.Messages > 0 && !quiet {
			b.losses.Tell(loss)
		}
		if ended {
			return
		}
		if len(messages) > 0 {
			b.handOver(messages)
			continue
		}
		var tooOld <-chan time.Time
		if next > 0 {
			timer.Reset(next)
			tooOld = timer.C
		}
		select {
		case <-b.outbox.wake:
		case <-tooOld:
		}
	}
}

// expire gives up what is too old, or everything if the broker stops at once, and
// says when to look again, zero for never. mu is held.
func (b *Broker) expire() (loss broker.Loss, next time.Duration) {
	age := b.bus.opts.OutboxAge
	switch {
	case b.stopped:
		loss = b.outbox.drop(func(*waiting) bool { return true })
		loss.Err = errStopped
	case age > 0:
		now := time.Now()
		loss = b.outbox.drop(func(m *waiting) bool { return now.Sub(m.since) >= age })
		loss.Err = errTooOld
		if m := b.outbox.queue.first(); m != nil {
			next = m.since.Add(age).Sub(now)
		}
	}
	if loss.Messages > 0 {
		b.change()
	}
	return loss, next
}

// take moves messages out of the outbox if they can be handed over. mu is held.
func (b *Broker) take(to []waiting) []waiting {
	if b.cut || b.frozen {
		return to
	}
	for b.outbox.queue.len() > 0 && len(to) < batch {
		to = append(to, b.outbox.queue.pop())
	}
	b.outbox.flight = len(to)
	return to
}

func (b *Broker) handOver(messages []waiting) {
	bytes := 0
	for i := range messages {
		m := &messages[i]
		bytes += len(m.payload)
		b.bus.publish(m.ch, m.payload, true, nil, b.stop)
		*m = waiting{}
	}
	b.sent.Add(uint64(len(messages)))
	b.mu.Lock()
	b.outbox.bytes -= bytes
	b.outbox.flight = 0
	b.outbox.settled += uint64(len(messages))
	b.change()
	b.mu.Unlock()
}
