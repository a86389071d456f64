package inbound

import (
	"sync"
	"sync/atomic"
	"time"
)

// Queue.call is the worker's one word of state: the number of the delivery in the upper half, the member's index in
// its list in the lower half, or idle while no member is being called. The worker advances it after each member by
// compare-and-swap; the watchdog advances it from a stalled member to the next one. The side whose swap fails has lost
// the delivery to the other.
const idle = 0

func callOf(number uint64, i int) uint64 { return number<<32 | uint64(uint32(i)) }

// begin begins q.delivery and returns its turn.
func (q *Queue[M]) begin() turn[M] {
	q.number++
	t := q.turn(0) // before it can be lost
	if len(t.list) > 0 {
		q.call.Store(callOf(t.number, 0))
		q.arm()
	}
	return t
}

// turn returns the turn of q.delivery from member i on.
func (q *Queue[M]) turn(i int) turn[M] {
	d := &q.delivery
	return turn[M]{
		delivery: d, reporter: q.handler, list: d.List, call: d.Call, ctx: d.Context, all: d.All,
		i: i, queue: q, word: &q.call, number: q.number,
	}
}

// step advances to the next member. It returns false if the turn is lost. Then a new worker has the rest, and this
// goroutine may touch only the member it has just called.
func (t *turn[M]) step() bool {
	i := t.i
	t.i++
	if t.word == nil {
		return true
	}
	next := uint64(idle)
	if t.i < len(t.list) {
		next = callOf(t.number, t.i)
	}
	return t.word.CompareAndSwap(callOf(t.number, i), next) || t.lost(i)
}

// lost records that the call of a stalled member has returned.
func (t *turn[M]) lost(i int) bool {
	t.queue.mu.Lock() // until leave has recorded the stall
	defer t.queue.mu.Unlock()
	t.list[i].Unstall()
	return false
}

// leave abandons the worker in a call, if it is still in it, and starts a new one at the next member. It returns the
// id of the stalled member, and the next call.
func (q *Queue[M]) leave(call uint64) (member string, next uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	number, i := call>>32+1, int(uint32(call))
	next = callOf(number, i+1)
	if !q.call.CompareAndSwap(call, next) {
		return "", idle, false
	}
	d := &q.delivery
	e := d.List[i]
	e.Stall()
	d.stalled.Add(1)
	d.Renew() // the old worker keeps the list
	if q.number = number; i+1 == len(d.List) {
		q.call.Store(idle)
		next = callOf(number+1, 0)
	}
	t := q.turn(i + 1)
	q.workers.Go(func() { q.resume(t) }) // the old worker counts until it has had mu
	return e.ID(), next, true
}

// watchdog watches the worker while it is busy.
type watchdog struct {
	patience *Patience // nil: no watchdog
	timer    *time.Timer
	armed    atomic.Bool // the timer or look is running

	// The fields below belong to the goroutine that armed it, then to look.
	seen  uint64 // the call at the last look
	watch Watch  // of that call
}

// arm starts the watchdog, unless it is running.
func (q *Queue[M]) arm() {
	if w := &q.watch; w.patience != nil && !w.armed.Load() && w.armed.CompareAndSwap(false, true) {
		w.see(idle)
		w.timer.Reset(w.watch.Pause())
	}
}

// see begins the watch of a call.
func (w *watchdog) see(call uint64) { w.seen, w.watch = call, w.patience.Watch() }

// look is called by the timer. It ends the watch if the worker is idle.
func (q *Queue[M]) look() {
	w := &q.watch
	switch call := q.call.Load(); {
	case call == idle:
		w.armed.Store(false)
		if q.call.Load() == idle || !w.armed.CompareAndSwap(false, true) {
			return // a worker that begins now arms it
		}
		w.see(idle)
	case call != w.seen:
		w.see(call)
	case w.watch.Late():
		if member, next, ok := q.leave(call); ok {
			q.handler.Stalled(member)
			w.patience.Lose()
			w.see(next)
		}
	}
	w.timer.Reset(w.watch.Pause())
}

// Patience limits members' methods: at first to a whole StallTimeout, after each stall to a quarter of the last limit,
// down to 1/256, until a StallTimeout has passed without a stall. So many blocked members take little longer than one.
type Patience struct {
	whole time.Duration
	mu    sync.Mutex
	lost  int
	last  time.Time
}

const mostQuarters = 4

// NewPatience returns a Patience whose first limit is whole.
func NewPatience(whole time.Duration) *Patience { return &Patience{whole: whole} }

// Left returns the current limit of a method.
func (p *Patience) Left() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost > 0 && time.Since(p.last) > p.whole {
		p.lost = 0
	}
	return max(p.whole>>(2*min(p.lost, mostQuarters)), min(p.whole, time.Millisecond))
}

// Lose records a stall.
func (p *Patience) Lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
	p.last = time.Now()
}

// Watch begins to watch a call.
func (p *Patience) Watch() Watch { return Watch{patience: p} }

// Watch finds out whether a call takes too long. It counts looks and not time, because time also passes while the
// process is stopped or has too few processors.
type Watch struct {
	patience      *Patience
	pause, waited time.Duration
}

// looks is the number of looks for the limit; fewer, but at least two, if less than a millisecond would be between
// them.
const looks = 8

// Pause returns the time until the next look.
func (w *Watch) Pause() time.Duration {
	left := w.patience.Left()
	w.pause = max(left/looks, min(left/2, time.Millisecond))
	return w.pause
}

// Late reports, at a look, whether the call takes too long.
func (w *Watch) Late() bool {
	w.waited += w.pause
	return w.waited >= w.patience.Left()
}
