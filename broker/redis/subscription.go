package redisbroker

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
	kind    eventKind
	ch      broker.Channel
	payload []byte
	err     error
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
	filters map[broker.Filter]*entry
	down    bool // told of an interruption, not yet of its end
	missing int  // while down: filters that are not live
	since   time.Time

	epoch atomic.Uint64 // changes with every filter that goes
	other atomic.Int32  // messages queued or being delivered on channels that are no room's

	mu      sync.Mutex
	queue   fifo[event]
	cost    int
	limit   int
	running bool            // a call of the receiver
	current event           // that call
	idle    []chan struct{} // closed when that returns
	closed  bool
	work    chan struct{} // capacity 1
	room    chan struct{} // capacity 1
	quit    chan struct{} // closed with closed
	done    chan struct{} // closed when the goroutine has ended
}

func newSubscription(s *subscriber, r broker.Receiver) *subscription {
	selective, _ := r.(broker.Selective)
	taker, _ := r.(broker.Taker)
	return &subscription{
		s: s, r: r, selective: selective, taker: taker, filters: map[broker.Filter]*entry{}, limit: s.opts.ReceiveBuffer,
		work: make(chan struct{}, 1), room: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
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
			u.r.Deliver(ev.ch, ev.payload)
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
	return ev, true
}

// wants reports whether the receiver has a use for a message on ch (B26).
func (u *subscription) wants(ch broker.Channel) bool {
	return u.selective == nil || ch.Kind() != broker.KindRoom || u.other.Load() > 0 || u.selective.Wants(ch)
}

// count notes that an event has come, or is done with.
func (u *subscription) count(ev *event, n int32) {
	if ev.kind == delivery && ev.ch.Kind() != broker.KindRoom {
		u.other.Add(n)
	}
}

// deliver hands over a message that was wanted at the given epoch to a receiver that
// takes it at once, or else queues it, and waits while the buffer is full. It reports false, without effect, if a filter has gone since then.
func (u *subscription) deliver(ctx context.Context, epoch uint64, ch broker.Channel, payload []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for u.cost >= u.limit && !u.closed && u.epoch.Load() == epoch {
		u.mu.Unlock()
		select {
		case <-u.room:
		case <-u.quit:
		case <-ctx.Done():
			u.mu.Lock()
			return true
		}
		u.mu.Lock()
	}
	if u.closed {
		return true
	}
	if u.epoch.Load() != epoch {
		return false
	}
	if u.taker != nil && !u.running && u.queue.len() == 0 && u.taker.Take(ch, payload) {
		u.s.received.Add(1)
		return true
	}
	u.push(event{kind: delivery, ch: ch, payload: payload})
	u.cost += messageCost + len(payload)
	return true
}

// push queues an event. mu is held.
func (u *subscription) push(ev event) {
	u.count(&ev, 1)
	u.queue.push(ev)
	if u.queue.len() == 1 {
		signal(u.work)
	}
}

// interrupted and resumed queue the respective call, whatever else waits. The
// subscriber's mutex is held.
//
// A gap that follows another one with no message between them is the same gap to the
// receiver. So a receiver that is stuck through many outages has at most two calls
// waiting for each message, of which there is a limited number.
func (u *subscription) interrupted(err error) {
	u.since = time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.gapAtEnd() {
		u.queue.popBack()
		return
	}
	u.s.interruptions++
	u.push(event{kind: interruption, err: err})
}

// gapAtEnd reports whether the last call that waits is Resumed. mu is held.
func (u *subscription) gapAtEnd() bool {
	return u.queue.len() > 0 && u.queue.back().kind == resumption
}

func (u *subscription) resumed() {
	u.s.interruptedFor += time.Since(u.since)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.push(event{kind: resumption})
}

// retract takes queued messages back that keep does not want. If one of that kind is
// being delivered it returns a channel that is closed when that is over, else nil. The
// subscriber's mutex is held.
func (u *subscription) retract(keep func(broker.Channel) bool) <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	queue := u.queue
	u.queue = fifo[event]{}
	for queue.len() > 0 {
		ev := queue.pop()
		switch {
		case ev.kind == delivery && !keep(ev.ch):
			u.count(&ev, -1)
			u.cost -= messageCost + len(ev.payload)
		case ev.kind == interruption && u.gapAtEnd():
			u.queue.popBack()
			u.s.interruptions--
		default:
			u.queue.push(ev)
		}
	}
	signal(u.room)
	if !u.running || u.current.kind != delivery || keep(u.current.ch) {
		return nil
	}
	ch := make(chan struct{})
	u.idle = append(u.idle, ch)
	return ch
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

// Add implements broker.Subscription.
func (u *subscription) Add(ctx context.Context, filters ...broker.Filter) error {
	return u.s.add(ctx, u, filters)
}

// Remove implements broker.Subscription. It also waits until the server has let go
// of what nobody else here wants, so that it is not counted any more; if the context
// ends before, or the receiver is still busy, the filters are removed all the same.
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
	waits := u.s.drop(u)
	return waitAll(ctx, append(waits, u.done))
}

// waitAll waits for all channels; nil ones count as closed.
func waitAll(ctx context.Context, waits []<-chan struct{}) error {
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
