package backplane

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// lane is a namespace's way in. The broker's goroutine puts messages into its
// bounded queue, one worker goroutine takes them out in order, decodes them and
// calls members. While the worker is stuck in a member's method the lane is taken from
// it and goes on with another (see fanout).
type lane struct {
	ns *Namespace

	mu       sync.Mutex
	notEmpty sync.Cond
	notFull  sync.Cond
	queue    []item
	bytes    int
	closed   bool

	// requests that were delivered and are not done with.
	requests atomic.Int32
	// asked: the broker asks Wants.
	asked atomic.Bool

	// The rest is the current worker's.
	batch []item
	next  int
	fan   fanout
	in    wire.Broadcast // decoded into, again and again
	downs time.Time      // when the current interruption began
	after func()         // what to do when fan has run, if it was taken over

	// What the observer sees of a broadcast, its context, and deliverEnded.
	data       DeliverData
	ctx        context.Context
	deliverEnd func()

	lastMessage atomic.Int64 // when the last batch was taken, in Unix nanoseconds, if noted

	seen     sight      // the keeper's
	leaving  sync.Mutex // one takeover at a time
	patience patience
	hurrying atomic.Bool // hurry is running
}

// item is a message, or (with a zero channel) the beginning or, if err is nil, the
// end of an interruption.
type item struct {
	ch      broker.Channel
	payload []byte
	err     error
}

// A lane's queue holds this many messages and bytes before the broker has to wait. The
// worker takes all of it at once, so that the lane may hold as much again.
const (
	laneMessages = 8192
	laneBytes    = 64 << 20
)

func (l *lane) init(ns *Namespace) {
	l.ns = ns
	l.notEmpty.L, l.notFull.L = &l.mu, &l.mu
	l.fan.watched = true
	l.deliverEnd = l.deliverEnded
}

// Deliver implements broker.Receiver.
func (l *lane) Deliver(ch broker.Channel, payload []byte) {
	l.put(item{ch: ch, payload: payload})
}

// Interrupted implements broker.Receiver.
func (l *lane) Interrupted(err error) {
	if err == nil {
		err = errUnknownOutage
	}
	l.put(item{err: err})
}

// Resumed implements broker.Receiver.
func (l *lane) Resumed() { l.put(item{}) }

// Wants implements broker.Prefilter. A message for a room that nobody here is in need
// not even be read, unless a request is on its way that may put somebody into it.
func (l *lane) Wants(ch broker.Channel) bool {
	if !l.asked.Load() {
		l.asked.Store(true)
	}
	if l.requests.Load() > 0 || !l.unwanted(ch) {
		return true
	}
	l.ns.node.counters.received.Add(1)
	l.note()
	l.drop(ch, DropUnwanted, nil)
	return false
}

// unwanted reports whether a message can be dropped for its channel alone. The
// channel is a filter that costs nothing; the empty name filters nothing, as in
// socket.io-redis.
func (l *lane) unwanted(ch broker.Channel) bool {
	return ch.Kind() == broker.KindRoom && ch.Name() != "" && l.ns.extra.OnBroadcast == nil &&
		!l.ns.node.observe.unwanted && !l.ns.rooms.Holds(ch.Name())
}

// note notes that something came, if an observer may ask.
func (l *lane) note() {
	if l.ns.node.observe.node != nil {
		l.lastMessage.Store(time.Now().UnixNano())
	}
}

// TryDeliver implements broker.TryReceiver.
func (l *lane) TryDeliver(ch broker.Channel, payload []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full() {
		return false
	}
	l.push(item{ch: ch, payload: payload})
	return true
}

func (l *lane) put(it item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.full() {
		l.notFull.Wait()
	}
	l.push(it)
}

// full reports whether the queue has no room. mu is held.
func (l *lane) full() bool {
	return !l.closed && (len(l.queue) >= laneMessages || l.bytes > laneBytes)
}

// push adds to the queue, whose end is the lane's. mu is held.
func (l *lane) push(it item) {
	if l.closed {
		return
	}
	if it.ch.Kind() == broker.KindRequests {
		l.requests.Add(1)
	}
	l.queue = append(l.queue, it)
	l.bytes += len(it.payload)
	if len(l.queue) == 1 {
		l.notEmpty.Signal()
	}
}

// close lets the worker end when it has emptied the queue.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.notEmpty.Broadcast()
	l.notFull.Broadcast()
	l.mu.Unlock()
}

// resume is the goroutine of a worker that has taken over from another one in the
// middle of a fanout.
func (l *lane) resume(t turn) {
	if l.fan.run(t, l.ns.node) {
		l.fanned()
		l.work()
	}
}

// work is the worker goroutine.
func (l *lane) work() {
	for {
		for l.next < len(l.batch) {
			it := &l.batch[l.next]
			l.next++
			if !l.handle(it) {
				return
			}
			*it = item{}
		}
		l.mu.Lock()
		for len(l.queue) == 0 && !l.closed {
			l.notEmpty.Wait()
		}
		l.batch, l.queue = l.queue, l.batch[:0]
		l.next, l.bytes = 0, 0
		l.notFull.Broadcast()
		l.mu.Unlock()
		if len(l.batch) == 0 {
			return
		}
		l.note()
	}
}

// handle deals with one item. It returns false if the lane was taken over.
func (l *lane) handle(it *item) (owned bool) {
	owned = true
	// What panics here is OnBroadcast or OnLink: all other callbacks are guarded where they
	// are called, members' methods in fanout, which alone can lose the lane.
	defer func() {
		if v := recover(); v != nil {
			what := "OnBroadcast"
			if it.ch.Kind() == 0 {
				what = "OnLink"
			}
			l.ns.node.panicked(what, "", v)
		}
	}()
	if it.ch.Kind() == 0 {
		l.link(it.err)
		return true
	}
	c := &l.ns.node.counters
	c.received.Add(1)
	c.receivedBytes.Add(uint64(len(it.payload)))
	switch it.ch.Kind() {
	case broker.KindBroadcast, broker.KindRoom:
		return l.broadcast(it.ch, it.payload)
	case broker.KindRequests:
		defer l.requests.Add(-1) // also by a worker that was stuck in it
		return l.request(it.ch, it.payload)
	case broker.KindResponses, broker.KindNodeResponses:
		l.response(it.ch, it.payload)
	}
	return true
}

// link notes the beginning or the end of an interruption.
func (l *lane) link(err error) {
	n := l.ns.node
	if err != nil {
		l.downs = time.Now()
		n.counters.interruptions.Add(1)
		n.reports.report(&InterruptedError{Namespace: l.ns.name, Err: err})
		if n.observe.link != nil {
			n.observed("Interrupted", func() { n.observe.link.Interrupted(l.ns.name, err) })
		}
		l.onLink(err)
		return
	}
	if n.observe.link != nil {
		n.observed("Resumed", func() { n.observe.link.Resumed(l.ns.name, time.Since(l.downs)) })
	}
	l.onLink(nil)
}

func (l *lane) onLink(err error) {
	if l.ns.extra.OnLink != nil {
		l.ns.extra.OnLink(err)
	}
}

// drop counts a message that ends here.
func (l *lane) drop(ch broker.Channel, reason DropReason, err error) {
	n := l.ns.node
	switch reason {
	case DropUnwanted:
		n.counters.unwanted.Add(1)
	case DropEcho:
		n.counters.echoes.Add(1)
	case DropForeign:
		n.counters.foreign.Add(1)
	case DropStray:
		n.counters.stray.Add(1)
	case DropUndecodable:
		n.counters.undecodable.Add(1)
		n.reports.report(&DecodeError{Channel: ch, Err: err})
	}
	if do := n.observe.drop; do != nil {
		l.dropped(do, ch, reason)
	}
}

// dropped is apart from drop, which is on the way of every message for other nodes'
// rooms and should stay small.
func (l *lane) dropped(do DropObserver, ch broker.Channel, reason DropReason) {
	l.ns.node.observed("Dropped", func() { do.Dropped(l.ns.name, ch, reason) })
}

// run has the selected members called, then fanned. It returns false if the lane
// was taken over, whose new worker then does that.
func (l *lane) run() bool {
	if !l.fan.run(l.fan.start(), l.ns.node) {
		return false
	}
	l.fanned()
	return true
}

// fanned closes the books of a fanout.
func (l *lane) fanned() {
	l.ns.node.tally(&l.fan)
	if l.fan.call == callDeliver {
		l.ns.broadcastEnd()
	}
	if after := l.after; after != nil {
		l.after = nil
		after()
	}
	l.fan.sel.Reset()
	l.fan.job = job{}
}

// tally counts what a fanout did.
func (n *Node) tally(f *fanout) {
	if f.call != callDisconnect {
		n.counters.deliveries.Add(uint64(f.delivered()))
	}
	if skipped := f.skipped.Load(); skipped > 0 {
		n.counters.skipped.Add(uint64(skipped))
	}
}

// watch is called by the keeper. If a member's method has not returned for the stall
// timeout, the lane goes on without it.
func (l *lane) watch(now time.Time) {
	n := l.ns.node
	beat, running := l.fan.running()
	switch {
	case !running:
		l.seen = sight{}
	case beat != l.seen.beat:
		l.seen = sight{beat: beat, since: now}
	case !l.seen.late && now.Sub(l.seen.since) >= n.opts.StallTimeout:
		l.seen.late = true
		n.workers.Go(func() {
			if len(stuck(underway{&l.fan, beat})) > 0 {
				l.leave(beat)
			}
		})
	}
}

// leave leaves the member behind that is being called, if beat is still what it was.
func (l *lane) leave(beat uint64) {
	l.leaving.Lock()
	e, turn, ok := l.fan.takeOver(beat, func() { l.ns.workers.Add(1) })
	l.leaving.Unlock()
	if !ok {
		return
	}
	l.ns.stalled(e)
	l.patience.lose()
	go func() {
		defer l.ns.workers.Done()
		l.resume(turn)
	}()
	if !l.hurrying.Swap(true) {
		l.ns.node.workers.Go(l.hurry)
	}
}

// hurry watches the worker while patience is short, for which the keeper looks too seldom.
// It counts looks and not time, which goes on while the process is stopped.
func (l *lane) hurry() {
	defer l.hurrying.Store(false)
	n := l.ns.node
	var seen uint64
	for looks := 0; ; looks++ {
		left := l.patience.left(n)
		if left >= n.opts.StallTimeout {
			return
		}
		pause := max(left/4, time.Millisecond)
		select {
		case <-time.After(pause):
		case <-n.stop:
			return
		}
		beat, running := l.fan.running()
		switch {
		case !running || beat != seen:
			seen, looks = beat, 0
		case time.Duration(looks)*pause >= left && len(stuck(underway{&l.fan, beat})) > 0:
			l.leave(beat)
			stuck(underway{&l.fan, beat + 2}) // let the next worker reach the next member
			seen, _ = l.fan.running()
			looks = 0
		}
	}
}

// stalled counts and reports a member that was left behind.
func (ns *Namespace) stalled(e *entry) {
	ns.node.counters.stalls.Add(1)
	ns.node.reports.report(&StalledError{Namespace: ns.name, Member: e.ID()})
}
