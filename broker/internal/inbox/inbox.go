// Package inbox stands between a broker's reader and one receiver: a bounded queue of
// the calls that are to be made, and the goroutine that makes them.
package inbox

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

// Options are what the inboxes of one broker have in common.
type Options struct {
	// Messages and Bytes bound what waits in an inbox. Each message counts with PerMessage
	// bytes besides its payload; a larger one is let in alone. Zero Messages: any number.
	Messages, Bytes int
	PerMessage      int
	// Patience is how long Deliver waits while an inbox is full. What comes after that
	// is missed, until half of the inbox is free. Zero: for as long as it takes.
	Patience time.Duration
	// Slow is why it is missed.
	Slow error
	// Counts of all of these inboxes.
	Counts *Counts
}

// MessageCost is the usual PerMessage.
const MessageCost = 128

// Inbox calls one receiver, in the order of the events that are put into it. Run makes
// the calls; all other methods may be called at the same time by others. Interrupt and
// Resume alternate, and nothing is put in between them; Shut may come at any time.
type Inbox struct {
	opts      Options
	r         broker.Receiver
	prefilter broker.Prefilter   // r, or nil if it is none
	try       broker.TryReceiver // r, or nil if it is none

	epoch atomic.Uint64
	other atomic.Int32 // messages queued or being delivered on channels that are no room's

	mu      sync.Mutex
	queue   queue.FIFO[event]
	held    int             // messages in queue
	cost    int             // of these
	missed  broker.Loss     // since the inbox was full, and not yet half empty
	down    bool            // the receiver misses something now
	running bool            // a call of the receiver
	current event           // that call
	idle    []chan struct{} // closed when it returns
	shut    bool
	paused  bool          // no calls are made
	waiting int           // calls of Deliver that wait for room
	work    chan struct{} // capacity 1: there is something to do
	room    chan struct{} // capacity 1: there is room again, or may be
	quit    chan struct{} // closed with shut
	done    chan struct{} // closed when Run has returned
}

// event is a call that is still to be made: Deliver if it has a channel, Interrupted if
// it has a gap, Resumed if it has neither.
type event struct {
	ch      broker.Channel
	payload []byte
	gap     *gap
}

func (ev *event) isMessage() bool { return ev.ch.Kind() != 0 }
func (ev *event) isResumed() bool { return !ev.isMessage() && ev.gap == nil }

// New makes an inbox. Its maker starts Run, and ends it with Shut.
func New(r broker.Receiver, opts Options) *Inbox {
	prefilter, _ := r.(broker.Prefilter)
	try, _ := r.(broker.TryReceiver)
	return &Inbox{
		opts: opts, r: r, prefilter: prefilter, try: try,
		work: make(chan struct{}, 1), room: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// Run calls the receiver until Shut is called.
func (in *Inbox) Run() {
	defer close(in.done)
	for {
		ev, ok := in.next()
		switch {
		case !ok:
			return
		case ev.isMessage():
			in.opts.Counts.received.Add(1)
			in.r.Deliver(ev.ch, ev.payload)
		case ev.gap != nil:
			in.opts.Counts.interruptions.Add(1)
			in.r.Interrupted(ev.gap.reason())
		default:
			in.r.Resumed()
		}
	}
}

// next ends the running call and waits for the next one.
func (in *Inbox) next() (event, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.running {
		in.count(&in.current, -1)
		in.running, in.current = false, event{}
		for _, ch := range in.idle {
			close(ch)
		}
		in.idle = nil
	}
	for {
		if in.shut {
			return event{}, false
		}
		if in.queue.Len() > 0 && !in.paused {
			break
		}
		in.mu.Unlock()
		select {
		case <-in.work:
		case <-in.quit:
		}
		in.mu.Lock()
	}
	ev := in.queue.Pop()
	if ev.isMessage() {
		in.uncount(&ev)
		in.makeRoom()
	}
	in.running, in.current = true, ev
	return ev, true
}

// count notes that a call has come, or is done with.
func (in *Inbox) count(ev *event, n int32) {
	if ev.isMessage() && ev.ch.Kind() != broker.KindRoom {
		in.other.Add(n)
	}
}

// Wants reports whether the receiver has a use for a message on ch (B26).
func (in *Inbox) Wants(ch *broker.Channel) bool {
	return in.prefilter == nil || ch.Kind() != broker.KindRoom || in.other.Load() > 0 || in.prefilter.Wants(*ch)
}

// Epoch returns a number that changes with every Retract.
func (in *Inbox) Epoch() uint64 { return in.epoch.Load() }

// Deliver hands a message to a receiver that takes it at once, or else queues it. It
// keeps the payload, which must not change any more. While the inbox is full it
// waits, as Options.Patience says. It reports false, without effect, if the epoch is no
// longer the given one: then the caller looks again whether the message is wanted.
func (in *Inbox) Deliver(epoch uint64, ch *broker.Channel, payload []byte) bool {
	return in.DeliverUntil(epoch, ch, payload, nil)
}

// DeliverUntil is Deliver, but waits until a channel is closed. A nil channel means
// Options.Patience.
func (in *Inbox) DeliverUntil(epoch uint64, ch *broker.Channel, payload []byte, until <-chan struct{}) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.full(payload) && in.missed.Messages == 0 {
		in.waitForRoom(epoch, payload, until)
	}
	return in.put(epoch, ch, payload)
}

// Offer is Deliver, but never waits: it reports false, without effect, if it would have to.
// A paused inbox is not waited for.
func (in *Inbox) Offer(epoch uint64, ch *broker.Channel, payload []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.full(payload) && in.missed.Messages == 0 && !in.paused {
		return false
	}
	return in.put(epoch, ch, payload)
}

func (in *Inbox) put(epoch uint64, ch *broker.Channel, payload []byte) bool {
	switch {
	case in.shut:
	case in.epoch.Load() != epoch:
		return false
	case in.full(payload) || in.missed.Messages > 0:
		in.begin()
		in.missed.Messages++
		in.missed.Bytes += len(payload)
	case in.try != nil && !in.running && !in.paused && in.queue.Len() == 0 && in.try.TryDeliver(*ch, payload):
		in.opts.Counts.received.Add(1)
	default:
		in.held++
		in.cost += in.opts.PerMessage + len(payload)
		in.push(event{ch: *ch, payload: payload})
	}
	return true
}

// full reports whether there is no room for a message.
func (in *Inbox) full(payload []byte) bool {
	return in.held > 0 && (in.opts.Messages > 0 && in.held >= in.opts.Messages || in.cost+in.opts.PerMessage+len(payload) > in.opts.Bytes)
}

// atMost reports whether no more than n quarters of the inbox are in use.
func (in *Inbox) atMost(n int) bool {
	return (in.opts.Messages <= 0 || 4*in.held <= n*in.opts.Messages) && 4*in.cost <= n*in.opts.Bytes
}

// uncount notes that a message has left the queue.
func (in *Inbox) uncount(ev *event) {
	in.held--
	in.cost -= in.opts.PerMessage + len(ev.payload)
}

// waitForRoom waits while there is no room for a message. mu is held, except while it
// waits.
func (in *Inbox) waitForRoom(epoch uint64, payload []byte, until <-chan struct{}) {
	if until == nil && in.opts.Patience > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), in.opts.Patience)
		defer cancel()
		until = ctx.Done()
	}
	in.waiting++
	defer func() { in.waiting-- }()
	for in.full(payload) && !in.shut && !in.paused && in.epoch.Load() == epoch {
		in.mu.Unlock()
		expired := false
		select {
		case <-in.room:
		case <-in.quit:
		case <-until:
			expired = true
		}
		in.mu.Lock()
		if expired {
			return
		}
	}
	lifecycle.Raise(in.room) // for another one that waits
}

// makeRoom wakes those who wait for room, when a quarter is free: each time would cost a
// switch of goroutines for one message. And it reports what was missed. mu is held.
func (in *Inbox) makeRoom() {
	if in.waiting > 0 && in.atMost(3) {
		lifecycle.Raise(in.room)
	}
	in.halfEmpty()
}

// Pause keeps calls back from the receiver, or ends that. A call that is running goes on,
// and what comes while the inbox is full is missed at once.
func (in *Inbox) Pause(on bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.paused = on
	lifecycle.Raise(in.work)
	lifecycle.Raise(in.room)
}

// push queues a call. mu is held.
func (in *Inbox) push(ev event) {
	in.count(&ev, 1)
	in.queue.Push(ev)
	if in.queue.Len() == 1 {
		lifecycle.Raise(in.work)
	}
}

// Retract begins a new epoch and takes back the messages that wait and that keep does
// not want. It returns a channel that is closed when no call for such a message is
// running any more; nil if none is.
func (in *Inbox) Retract(keep func(broker.Channel) bool) <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.epoch.Add(1)
	var last broker.Channel // most messages are on the channel of the one before
	var kept bool
	wanted := func(ch broker.Channel) bool {
		if ch != last {
			last, kept = ch, keep(ch)
		}
		return kept
	}
	all := in.queue
	in.queue = queue.FIFO[event]{}
	for all.Len() > 0 {
		ev := all.Pop()
		switch {
		case ev.isMessage() && !wanted(ev.ch):
			in.count(&ev, -1)
			in.uncount(&ev)
		case ev.gap != nil && in.join(ev.gap): // what stood between the two is gone
		default:
			in.queue.Push(ev)
		}
	}
	lifecycle.Raise(in.room)
	in.halfEmpty()
	if !in.running || !in.current.isMessage() || wanted(in.current.ch) {
		return nil
	}
	ch := make(chan struct{})
	in.idle = append(in.idle, ch)
	return ch
}

// Shut ends the inbox: nothing that waits is delivered. A call that is running goes on.
// It may be called more than once.
func (in *Inbox) Shut() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.shut {
		return
	}
	in.shut = true
	in.queue, in.missed = queue.FIFO[event]{}, broker.Loss{}
	in.end()
	close(in.quit)
}

// Quit returns a channel that Shut closes.
func (in *Inbox) Quit() <-chan struct{} { return in.quit }

// IsShut reports whether Shut was called.
func (in *Inbox) IsShut() bool {
	select {
	case <-in.quit:
		return true
	default:
		return false
	}
}

// Done returns a channel that is closed when Run has returned.
func (in *Inbox) Done() <-chan struct{} { return in.done }
