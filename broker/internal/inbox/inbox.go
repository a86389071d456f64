// Package inbox is the queue between a broker's reader and one receiver, with the goroutine that calls the receiver.
package inbox

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

// Options are the common options of a broker's inboxes.
type Options struct {
	// Messages and Bytes limit the messages in an inbox. Each message counts with PerMessage bytes besides its
	// payload; a larger one is accepted alone. Zero Messages means any number.
	Messages, Bytes int
	PerMessage      int
	// Waits limits how long Deliver waits for a full inbox. After that the receiver misses messages, because of
	// broker.ErrSlowReceiver, until half of the inbox is free. Nil means no limit.
	Waits *Waits
	// Counts of all inboxes with these options.
	Counts *Counts
}

// MessageCost is the usual PerMessage.
const MessageCost = 128

// Inbox calls one receiver, in the order of the events that are put into it. Run makes the calls; all other methods
// are safe for concurrent use. Interrupt and Resume must alternate, without a Deliver in between. Shut may be called
// at any time.
type Inbox struct {
	opts      Options
	r         broker.Receiver
	prefilter broker.Prefilter   // r, or nil if r is no Prefilter
	try       broker.TryReceiver // r, or nil if r is no TryReceiver

	epoch atomic.Uint64
	other atomic.Int32 // messages queued or being delivered on other channels than those of rooms

	mu      sync.Mutex
	queue   queue.FIFO[event]
	held    int             // messages in queue
	cost    int             // of these
	missed  broker.Loss     // messages missed since the inbox was full, and until it is half empty
	down    bool            // the receiver misses messages now
	partial bool            // the last gap taken from queue affects only some channels
	running bool            // a call of the receiver is running
	current event           // that call
	idle    []chan struct{} // closed when it returns
	shut    bool
	paused  bool          // no calls are made
	waiting int           // calls of Deliver that wait for room
	work    chan struct{} // capacity 1: there is something to do
	room    chan struct{} // capacity 1: there is room, or may be
	quit    chan struct{} // closed with shut
	done    chan struct{} // closed when Run has returned
}

// event is a pending call: Deliver if it has a channel, Interrupted if it has a gap, Resumed if it has neither.
type event struct {
	ch      broker.Channel
	payload []byte
	gap     *gap
}

func (ev *event) isMessage() bool { return ev.ch.Kind() != 0 }
func (ev *event) isResumed() bool { return !ev.isMessage() && ev.gap == nil }

// New makes an inbox. The caller must start Run, and end it with Shut.
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
	if ev.gap != nil {
		in.partial = ev.gap.partial()
	}
	in.running, in.current = true, ev
	return ev, true
}

// count adds n to the number of messages that are not for rooms, if ev is one.
func (in *Inbox) count(ev *event, n int32) {
	if ev.isMessage() && ev.ch.Kind() != broker.KindRoom {
		in.other.Add(n)
	}
}

// Wants reports whether the receiver wants a message on ch [B26].
func (in *Inbox) Wants(ch *broker.Channel) bool {
	return in.prefilter == nil || ch.Kind() != broker.KindRoom || in.other.Load() > 0 || in.prefilter.Wants(*ch)
}

// Epoch returns a number that changes with every Retract.
func (in *Inbox) Epoch() uint64 { return in.epoch.Load() }

// Deliver passes a message to a receiver that accepts it immediately, or else queues it. It keeps the payload, which
// must not change any more. While the inbox is full it waits as Options.Waits allows. It returns false, without effect,
// if epoch is not the current one: the caller must then match the filters again.
func (in *Inbox) Deliver(epoch uint64, ch *broker.Channel, payload []byte) bool {
	return in.DeliverUntil(epoch, ch, payload, nil)
}

// DeliverUntil is Deliver, but waits until a channel is closed. A nil channel means Options.Waits.
func (in *Inbox) DeliverUntil(epoch uint64, ch *broker.Channel, payload []byte, until <-chan struct{}) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.full(payload) && in.missed.Messages == 0 {
		in.waitForRoom(epoch, payload, until)
	}
	return in.put(epoch, ch, payload)
}

// Offer is Deliver, but never waits: it returns false, without effect, if it would have to. It does not wait for a
// paused inbox.
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

// uncount removes a message that has left the queue from the counts.
func (in *Inbox) uncount(ev *event) {
	in.held--
	in.cost -= in.opts.PerMessage + len(ev.payload)
}

// waitForRoom waits while there is no room for a message. The caller holds mu, which is unlocked during the wait.
func (in *Inbox) waitForRoom(epoch uint64, payload []byte, until <-chan struct{}) {
	if until == nil && in.opts.Waits != nil {
		ctx, cancel := context.WithTimeout(context.Background(), in.opts.Waits.begin())
		defer in.opts.Waits.end()
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
	lifecycle.Raise(in.room) // for another waiting call
}

// makeRoom wakes the callers that wait for room, when a quarter is free: waking them for every message would cost a
// switch of goroutines each. It also reports missed messages. The caller holds mu.
func (in *Inbox) makeRoom() {
	if in.waiting > 0 && in.atMost(3) {
		lifecycle.Raise(in.room)
	}
	in.halfEmpty()
}

// Pause stops the calls of the receiver, or resumes them. A running call continues. Messages for a full inbox are
// missed at once.
func (in *Inbox) Pause(on bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.paused = on
	lifecycle.Raise(in.work)
	lifecycle.Raise(in.room)
}

// push queues a call. The caller holds mu.
func (in *Inbox) push(ev event) {
	in.count(&ev, 1)
	in.queue.Push(ev)
	if in.queue.Len() == 1 {
		lifecycle.Raise(in.work)
	}
}

// Retract begins a new epoch and removes the queued messages that keep rejects. It returns a channel that is closed
// when no call for such a message is running; nil if none is.
func (in *Inbox) Retract(keep func(broker.Channel) bool) <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.epoch.Add(1)
	var last broker.Channel // most messages have the channel of the one before
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
		case ev.gap != nil && in.join(ev.gap): // the messages between the two gaps were removed
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

// Shut ends the inbox without delivering the queued messages. A running call continues. Shut is idempotent.
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
