// Package inbox stands between a broker's reader and one receiver: a bounded queue of
// the calls that are to be made, and the goroutine that makes them.
package inbox

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/queue"
	"github.com/crossroom/crossroom/broker/internal/signals"
)

// messageCost is what a message counts for besides its payload, in bytes.
const messageCost = 128

// Options are what the inboxes of one broker have in common.
type Options struct {
	// Limit is how many bytes may wait in an inbox. Each message counts with 128 bytes
	// besides its payload.
	Limit int
	// Patience is how long Deliver waits while an inbox is full. What comes after that
	// is missed, until half of the inbox is free. Zero: for as long as it takes.
	Patience time.Duration
	// Slow is why it is missed.
	Slow error
	// Counts of all of these inboxes.
	Counts *Counts
}

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
	cost    int             // of the messages in queue
	missed  broker.Loss     // since the inbox was full, and not yet half empty
	down    bool            // the receiver misses something now
	running bool            // a call of the receiver
	current event           // that call
	idle    []chan struct{} // closed when it returns
	shut    bool
	work    chan struct{} // capacity 1: there is something to do
	room    chan struct{} // capacity 1: there is room again, or may be
	quit    chan struct{} // closed with shut
	done    chan struct{} // closed when Run has returned
}

// event is a call that is still to be made: Deliver if it has a channel, Interrupted if
// it has a gap, Resumed if it has neither.
type event struct {
	ch      *broker.Channel
	payload []byte
	gap     *gap
}

func (ev *event) isResumed() bool { return ev.ch == nil && ev.gap == nil }

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
		case ev.ch != nil:
			in.opts.Counts.received.Add(1)
			in.r.Deliver(*ev.ch, ev.payload)
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
		if in.queue.Len() > 0 {
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
	if ev.ch != nil {
		full := in.cost >= in.opts.Limit
		in.cost -= messageCost + len(ev.payload)
		if full && in.cost < in.opts.Limit {
			signals.Raise(in.room)
		}
		in.halfEmpty()
	}
	in.running, in.current = true, ev
	return ev, true
}

// count notes that a call has come, or is done with.
func (in *Inbox) count(ev *event, n int32) {
	if ev.ch != nil && ev.ch.Kind() != broker.KindRoom {
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
// keeps ch and payload, which must not change any more. While the inbox is full it
// waits, as Options.Patience says. It reports false, without effect, if the epoch is no
// longer the given one: then the caller looks again whether the message is wanted.
func (in *Inbox) Deliver(epoch uint64, ch *broker.Channel, payload []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.cost >= in.opts.Limit && in.missed.Messages == 0 {
		in.waitForRoom(epoch)
	}
	switch {
	case in.shut:
	case in.epoch.Load() != epoch:
		return false
	case in.cost >= in.opts.Limit || in.missed.Messages > 0:
		in.begin()
		in.missed.Messages++
		in.missed.Bytes += len(payload)
	case in.try != nil && !in.running && in.queue.Len() == 0 && in.try.TryDeliver(*ch, payload):
		in.opts.Counts.received.Add(1)
	default:
		in.push(event{ch: ch, payload: payload})
		in.cost += messageCost + len(payload)
	}
	return true
}

// waitForRoom waits while the inbox is full. mu is held, except while it waits.
func (in *Inbox) waitForRoom(epoch uint64) {
	var expired <-chan time.Time
	if in.opts.Patience > 0 {
		patience := time.NewTimer(in.opts.Patience)
		defer patience.Stop()
		expired = patience.C
	}
	for in.cost >= in.opts.Limit && !in.shut && in.epoch.Load() == epoch {
		in.mu.Unlock()
		over := false
		select {
		case <-in.room:
		case <-in.quit:
		case <-expired:
			over = true
		}
		in.mu.Lock()
		if over {
			return
		}
	}
	signals.Raise(in.room) // for another one that waits
}

// push queues a call. mu is held.
func (in *Inbox) push(ev event) {
	in.count(&ev, 1)
	in.queue.Push(ev)
	if in.queue.Len() == 1 {
		signals.Raise(in.work)
	}
}

// Retract begins a new epoch and takes back the messages that wait and that keep does
// not want. It returns a channel that is closed when no call for such a message is
// running any more; nil if none is.
func (in *Inbox) Retract(keep func(broker.Channel) bool) <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.epoch.Add(1)
	all := in.queue
	in.queue = queue.FIFO[event]{}
	for all.Len() > 0 {
		ev := all.Pop()
		switch {
		case ev.ch != nil && !keep(*ev.ch):
			in.count(&ev, -1)
			in.cost -= messageCost + len(ev.payload)
		case ev.gap != nil && in.join(ev.gap): // what stood between the two is gone
		default:
			in.queue.Push(ev)
		}
	}
	signals.Raise(in.room)
	in.halfEmpty()
	if !in.running || in.current.ch == nil || keep(*in.current.ch) {
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
