// Package inbound handles the messages of one namespace's subscription: a bounded queue, one worker that handles
// messages in order, and local delivery, which calls a method of each selected member. A [Handler] interprets the
// messages.
//
// The worker continues without a member whose method does not return. The worker's one word of state says which call
// it is in. While the worker is busy, a watchdog reads that word at intervals. When a call takes too long, the
// watchdog changes the word, records that the member has stalled, and starts a new worker at the next member. The old
// worker notices this after its call, records that the member has returned, and ends. No delivery calls a stalled
// member.
//
// A delivery on the goroutine of a caller ([Delivery.Run]) has no watchdog: a member that blocks, blocks the caller.
package inbound

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Handler interprets messages. The worker calls its methods one at a time, except Wants and Unread.
type Handler[M any] interface {
	// Wants reports whether a message must be read, given only its channel. It may be called at any time and by
	// several goroutines.
	Wants(ch broker.Channel) bool
	// Unread counts a message for which Wants returned false. size is zero if the broker
	// did not read it either. It may be called like Wants.
	Unread(ch broker.Channel, size int)
	// Message handles a message, which may be kept. If it returns true, the worker runs d
	// and then calls Delivered. d is empty before.
	Message(ch broker.Channel, payload []byte, d *Delivery[M]) (deliver bool)
	// Delivered is called when d is done.
	Delivered(d *Delivery[M])
	// Interrupted and Resumed are those of broker.Receiver, in the order of messages.
	Interrupted(err error)
	Resumed()
	// Stalled reports a stalled member. It may be called at any time.
	Stalled(member string)
	Reporter
}

// Reporter reports a panic of a member's method. The goroutine that panicked calls it, and continues with the next
// member.
type Reporter interface {
	Panicked(ctx context.Context, method, member string, value any)
}

// A queue holds this many messages and bytes before the broker must wait. The worker takes all of it at once, so as
// much again may be in memory.
const (
	MaxMessages = 8192
	MaxBytes    = 64 << 20
)

// Queue is the inbound queue of a namespace. It implements broker.Receiver, broker.Prefilter and broker.TryReceiver. M
// is the type of the members, an interface.
type Queue[M any] struct {
	handler Handler[M]
	workers *sync.WaitGroup
	clock   bool

	mu       sync.Mutex // also held while a new worker takes over
	notEmpty sync.Cond
	notFull  sync.Cond
	queue    []item
	bytes    int
	closed   bool

	requests atomic.Int32 // in the queue or being handled
	asked    atomic.Bool  // the broker calls Wants
	last     atomic.Int64 // when the last message arrived, in Unix nanoseconds

	// The fields below belong to the worker.
	batch    []item
	next     int
	delivery Delivery[M]
	number   uint64 // of deliveries

	call  atomic.Uint64 // the worker's current call of a member: see watchdog.go
	watch watchdog
}

// item is a message or, with a zero channel, the start of an interruption or, if err is nil, its end.
type item struct {
	ch      broker.Channel
	payload []byte
	err     error
}

var errNoReason = errors.New("the broker gave no reason")

// Options of a queue.
type Options struct {
	// StallTimeout limits a member's method. Zero or negative means no limit.
	StallTimeout time.Duration
	// Clock makes the queue record the time for Last.
	Clock bool
	// Workers counts the goroutines.
	Workers *sync.WaitGroup
}

// Init prepares a queue without starting it. The queue must not be copied afterwards.
func (q *Queue[M]) Init(h Handler[M], o Options) {
	q.handler, q.workers, q.clock = h, o.Workers, o.Clock
	q.notEmpty.L, q.notFull.L = &q.mu, &q.mu
	if o.StallTimeout > 0 {
		q.watch.patience = NewPatience(o.StallTimeout)
		q.watch.timer = time.AfterFunc(time.Hour, q.look)
		q.watch.timer.Stop()
	}
}

// Start starts the worker.
func (q *Queue[M]) Start() { q.workers.Go(q.work) }

// Last returns when the last message arrived; zero without one, or if Options.Clock is off.
func (q *Queue[M]) Last() time.Time {
	if t := q.last.Load(); t != 0 {
		return time.Unix(0, t)
	}
	return time.Time{}
}

func (q *Queue[M]) note() {
	if q.clock {
		q.last.Store(time.Now().UnixNano())
	}
}

// Deliver implements broker.Receiver.
func (q *Queue[M]) Deliver(ch broker.Channel, payload []byte) {
	q.put(item{ch: ch, payload: payload})
}

// Interrupted implements broker.Receiver.
func (q *Queue[M]) Interrupted(err error) {
	if err == nil {
		err = errNoReason
	}
	q.put(item{err: err})
}

// Resumed implements broker.Receiver.
func (q *Queue[M]) Resumed() { q.put(item{}) }

// Wants implements broker.Prefilter. While a request is pending, which may put members into rooms, every message is
// wanted.
func (q *Queue[M]) Wants(ch broker.Channel) bool {
	if !q.asked.Load() {
		q.asked.Store(true)
	}
	if q.requests.Load() > 0 || q.handler.Wants(ch) {
		return true
	}
	q.note()
	q.handler.Unread(ch, 0)
	return false
}

// TryDeliver implements broker.TryReceiver.
func (q *Queue[M]) TryDeliver(ch broker.Channel, payload []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.full() {
		return false
	}
	q.push(item{ch: ch, payload: payload})
	return true
}

func (q *Queue[M]) put(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.full() {
		q.notFull.Wait()
	}
	q.push(it)
}

// full reports whether the queue has no room. The caller holds mu.
func (q *Queue[M]) full() bool {
	return !q.closed && (len(q.queue) >= MaxMessages || q.bytes > MaxBytes)
}

// push adds an item, unless the queue is closed. The caller holds mu.
func (q *Queue[M]) push(it item) {
	if q.closed {
		return
	}
	if it.ch.Kind() == broker.KindRequests {
		q.requests.Add(1)
	}
	q.queue = append(q.queue, it)
	q.bytes += len(it.payload)
	if len(q.queue) == 1 {
		q.notEmpty.Signal()
	}
}

// Close lets the worker end when it has emptied the queue.
func (q *Queue[M]) Close() {
	q.mu.Lock()
	q.closed = true
	q.notEmpty.Broadcast()
	q.notFull.Broadcast()
	q.mu.Unlock()
}
