package natsbroker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// messageCost is what a message counts for in a subscription's buffer besides its payload.
const messageCost = 128

// event is a call of the receiver that is still to be made.
type event struct {
	ch      *broker.Channel // of a delivery; not written to
	payload []byte
	err     error
	kind    eventKind
}

type eventKind uint8

const (
	delivery eventKind = iota
	interruption
	resumption
)

// subscription implements broker.Subscription: filters, and a bounded queue of
// events that a goroutine of its own hands to the receiver.
type subscription struct {
	s         *subscriber
	r         broker.Receiver
	selective broker.Selective // r, or nil if it is none
	taker     broker.Taker     // r, or nil if it is none

	// The subscriber's mutex guards these.
	entries map[broker.Filter]*entry
	down    bool // told of an interruption, not yet of its end
	since   time.Time

	epoch    atomic.Uint64 // changes with every filter that goes
	other    atomic.Int32  // messages queued or being delivered on channels that are no room's
	arrivals arrivals      // of the reading goroutine

	mu       sync.Mutex
	queue    fifo[event]
	cost     int
	limit    int
	missed   tally // since the buffer was full; nothing is queued until half is free
	fullFrom time.Time
	running  bool            // a call of the receiver
	current  event           // that call
	idle     []chan struct{} // closed when that returns
	closed   bool
	work     chan struct{} // capacity 1
	room     chan struct{} // capacity 1
	quit     chan struct{} // closed with closed
	done     chan struct{} // closed when the goroutine has ended
}

func newSubscription(s *subscriber, r broker.Receiver) *subscription {
	selective, _ := r.(broker.Selective)
	taker, _ := r.(broker.Taker)
	return &subscription{
		s: s, r: r, selective: selective, taker: taker, entries: map[broker.Filter]*entry{}, limit: s.opts.ReceiveBuffer,
		work: make(chan struct{}, 1), room: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// run calls the receiver until the subscription is closed.
func (u *subscription) run() {
	defer close(u.done)
	for {
		ev, ok := u.next()
		if !ok {
			return
		}
		switch ev.kind {
		case delivery:
			u.s.received.Add(1)
			u.r.Deliver(*ev.ch, ev.payload)
		case interruption:
			u.r.Interrupted(ev.err)
		case resumption:
			u.r.Resumed()
		}
	}
}

// next ends the running call and waits for the next one.
func (u *subscription) next() (event, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running {
		u.count(&u.current, -1)
		u.running, u.current = false, event{}
		for _, ch := range u.idle {
			close(ch)
		}
		u.idle = nil
	}
	for {
		if u.closed {
			return event{}, false
		}
		if u.queue.len() > 0 {
			break
		}
		u.mu.Unlock()
		select {
		case <-u.work:
		case <-u.quit:
		}
		u.mu.Lock()
	}
	ev := u.queue.pop()
	if ev.kind == delivery {
		full := u.cost >= u.limit
		u.cost -= messageCost + len(ev.payload)
		if full && u.cost < u.limit {
			signal(u.room)
		}
	}
	u.running, u.current = true, ev
	if u.missed.messages > 0 && u.cost <= u.limit/2 {
		u.endGap()
	}
	return ev, true
}

// wants reports whether the receiver has a use for a message on ch (B26).
func (u *subscription) wants(ch *broker.Channel) bool {
	return u.selective == nil || ch.Kind() != broker.KindRoom || u.other.Load() > 0 || u.selective.Wants(*ch)
}

// count notes that an event has come, or is done with.
func (u *subscription) count(ev *event, n int32) {
	if ev.kind == delivery && ev.ch.Kind() != broker.KindRoom {
		u.other.Add(n)
	}
}

// deliver hands over a message that was wanted at the given epoch to a receiver that
// takes it at once, or else queues it. If the buffer is full
// it waits a little, and then counts what comes as missed until there is room again.
// It reports false, without effect, if a filter has gone since then.
func (u *subscription) deliver(epoch uint64, ch *broker.Channel, payload []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cost >= u.limit && u.missed.messages == 0 {
		u.waitForRoom(epoch)
	}
	switch {
	case u.closed:
	case u.epoch.Load() != epoch:
		return false
	case u.missed.messages > 0 || u.cost >= u.limit:
		u.missLocked(len(payload))
	case u.taker != nil && !u.running && u.queue.len() == 0 && u.taker.Take(*ch, payload):
		u.s.received.Add(1)
	default:
		u.push(event{kind: delivery, ch: ch, payload: payload})
		u.cost += messageCost + len(payload)
	}
	return true
}

// waitForRoom waits while the buffer is full, but not for longer than SlowReceiver.
// mu is held, except while it waits.
func (u *subscription) waitForRoom(epoch uint64) {
	patience := time.NewTimer(u.s.opts.SlowReceiver)
	defer patience.Stop()
	for u.cost >= u.limit && !u.closed && u.epoch.Load() == epoch {
		u.mu.Unlock()
		expired := false
		select {
		case <-u.room:
		case <-u.quit:
		case <-patience.C:
			expired = true
		}
		u.mu.Lock()
		if expired {
			return
		}
	}
	signal(u.room) // for another one that waits
}

// missLocked counts a message that is not queued. mu is held.
func (u *subscription) missLocked(size int) {
	if u.missed.messages == 0 {
		u.fullFrom = time.Now()
	}
	u.missed.add(size)
}

// tooLate tells of a message that comes after one that was published after it, and
// is not delivered for that.
func (u *subscription) tooLate(size int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	full := u.missed.messages > 0
	u.missLocked(size)
	if !full {
		u.gapBecause(errOvertaken)
	}
}

// endGap tells of what was missed while the buffer was full. It all came after what
// is queued and before what will be. mu is held.
func (u *subscription) endGap() { u.gapBecause(ErrSlowReceiver) }

func (u *subscription) gapBecause(err error) {
	loss := broker.Loss{Messages: u.missed.messages, Bytes: u.missed.bytes, Err: err}
	u.missed = tally{}
	u.s.interruptions.Add(1)
	u.s.resumed(time.Since(u.fullFrom))
	u.push(event{kind: interruption, err: &broker.LossError{Loss: loss}})
	u.push(event{kind: resumption})
}

// push queues an event. mu is held.
func (u *subscription) push(ev event) {
	u.count(&ev, 1)
	u.queue.push(ev)
	if u.queue.len() == 1 {
		signal(u.work)
	}
}

// interrupt and resume queue the respective call, whatever else waits. The
// subscriber's mutex is held.
func (u *subscription) interrupt(err error) {
	u.down, u.since = true, time.Now()
	u.s.interruptions.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.missed.messages > 0 {
		u.endGap()
	}
	u.push(event{kind: interruption, err: err})
}

func (u *subscription) resume() {
	u.down = false
	u.s.resumed(time.Since(u.since))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.push(event{kind: resumption})
}

// retract takes queued messages back that keep does not want. If one of that kind is
// being delivered it returns a channel that is closed when that is over, else nil.
func (u *subscription) retract(keep func(broker.Channel) bool) <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue.keep(func(ev *event) bool {
		if ev.kind != delivery || keep(*ev.ch) {
			return true
		}
		u.count(ev, -1)
		u.cost -= messageCost + len(ev.payload)
		return false
	})
	signal(u.room)
	if u.missed.messages > 0 && u.cost <= u.limit/2 {
		u.endGap()
	}
	if !u.running || u.current.kind != delivery || keep(*u.current.ch) {
		return nil
	}
	ch := make(chan struct{})
	u.idle = append(u.idle, ch)
	return ch
}

// matches reports whether one of the filters that are live selects ch. The
// subscriber's mutex is held.
func (u *subscription) matches(ch broker.Channel) bool {
	if e := u.entries[broker.Exactly(ch)]; e != nil && e.live {
		return true
	}
	switch ch.Kind() {
	case broker.KindRoom, broker.KindBroadcast:
		e := u.entries[ch.Wire().EveryRoom(ch.Namespace())]
		return e != nil && e.live
	}
	return false
}

// active counts the filters that are live. The subscriber's mutex is held.
func (u *subscription) active() int {
	n := 0
	for _, e := range u.entries {
		if e.live {
			n++
		}
	}
	return n
}

// shut ends the queue; a call that is running goes on.
func (u *subscription) shut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed {
		u.closed = true
		u.queue = fifo[event]{}
		close(u.quit)
	}
}

func (u *subscription) isClosed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closed
}

// Add implements broker.Subscription.
func (u *subscription) Add(ctx context.Context, filters ...broker.Filter) error {
	return u.s.add(ctx, u, filters)
}

// Remove implements broker.Subscription. If the context ends while the receiver is
// still busy, the filters are removed all the same.
func (u *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return waitAll(ctx, u.s.remove(u, filters))
}

// Close implements broker.Subscription. If its context ends first it returns its
// error; the subscription is closed all the same, and only a call of the receiver
// that was running may still be.
func (u *subscription) Close(ctx context.Context) error {
	u.s.drop(u)
	return waitAll(ctx, u.done)
}

// waitAll waits for all channels; nil ones count as closed.
func waitAll(ctx context.Context, waits ...<-chan struct{}) error {
	for _, ch := range waits {
		if ch == nil {
			continue
		}
		select {
		case <-ch:
			continue
		default:
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
