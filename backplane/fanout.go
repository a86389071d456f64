package backplane

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/crossroom/crossroom/internal/rooms"
)

// fanout calls one method of each selected member, in turn, without a lock and
// without an allocation. A panic is reported and the next member is called.
//
// A watched fanout can be taken over: if a member's method does not return, the
// node takes the fanout away from the goroutine that is stuck in it and has another
// one go on with the next member. beat decides who owns it: the owner advances it by
// compare-and-swap after each member, and an owner whose swap fails has lost everything
// but its turn and the one member it was calling.
//
// A fanout on the goroutine of a caller of this package (own) stays with it: there
// the member is only marked, so that the next broadcasts pass it by.
type fanout struct {
	sel selection
	job

	// Members so far that were not called, that panicked, and in whose calls a
	// goroutine was left behind. Atomic because an owner counts after its swap,
	// when somebody may be taking over already.
	skipped, panicked, stalled atomic.Int32

	watched bool
	own     bool
	beat    atomic.Uint64 // never the same twice
	base    atomic.Uint64 // beat of member 0
	limit   atomic.Uint64 // beat after the last member: it runs as long as beat is below
	marked  atomic.Uint64 // beat after the last takeover, once its member is marked
}

// job is what is done to each member.
type job struct {
	call callKind
	msg  *Message
	acks *ackCollector   // callAck
	hard bool            // callDisconnect: with the connection
	all  bool            // also to a member that is stalled
	ctx  context.Context // for reports; nil is none
}

// turn is what one goroutine needs to call members: its own copy, so that it reads
// nothing that it may lose.
type turn struct {
	job
	list []*entry // from when it began; nobody writes to it until it has lost or ended
	base uint64
	i    int // the member to call next
}

// What the registry keeps of a member, and what it finds for a message.
type (
	entry     = rooms.Entry[Member]
	selection = rooms.Selection[Member]
)

// acking is how many of the members found can acknowledge a message, and take messages.
func acking(list []*entry) (n int) {
	for _, e := range list {
		if _, ok := e.Member.(AckMember); ok && e.Ready() {
			n++
		}
	}
	return n
}

type callKind uint8

const (
	callDeliver callKind = iota
	callAck
	callDisconnect
)

var callNames = [...]string{"Deliver", "DeliverAck", "Disconnect"}

// start begins a run: it gives the caller the turn.
func (f *fanout) start() turn {
	t := turn{job: f.job, list: f.sel.List}
	for _, n := range [...]*atomic.Int32{&f.skipped, &f.panicked, &f.stalled} {
		if n.Load() != 0 { // a store costs more than a look
			n.Store(0)
		}
	}
	if f.watched {
		t.base = f.beat.Add(1)
		f.base.Store(t.base)
		f.limit.Store(t.base + uint64(len(t.list)))
	}
	return t
}

// run calls the members that are left in a turn. It returns false if the fanout was
// taken over meanwhile; the caller must then touch neither it nor anything that goes
// with it.
func (f *fanout) run(t turn, n *Node) bool {
	for t.i < len(t.list) {
		if !f.stretch(&t, n) {
			return false
		}
	}
	return true
}

// stretch calls members up to the end of the turn or the first one that panics. It
// returns false if the turn is lost.
func (f *fanout) stretch(t *turn, n *Node) (owned bool) {
	defer func() {
		if v := recover(); v != nil {
			n.panickedIn(t.ctx, callNames[t.call], t.list[t.i].ID(), v)
			if owned = f.step(t); owned {
				f.panicked.Add(1)
			}
		}
	}()
	for t.i < len(t.list) {
		if t.i%ahead == 0 {
			t.touch()
		}
		e := t.list[t.i]
		ready := t.ready(e)
		if ready {
			t.do(e)
		}
		if !f.step(t) {
			return false
		}
		if !ready {
			f.skipped.Add(1)
		}
	}
	return true
}

// ahead is how many entries are fetched at a time. In a large room each of them is a
// cache miss; the processor waits for several together as long as for one.
const ahead = 16

// touch reads the next entries.
func (t *turn) touch() {
	for _, e := range t.list[t.i:min(t.i+ahead, len(t.list))] {
		e.Ready()
	}
}

func (j *job) ready(e *entry) bool {
	return e.Ready() || j.all && !e.Gone()
}

func (j *job) do(e *entry) {
	switch j.call {
	case callDeliver:
		e.Member.Deliver(j.msg)
	case callAck:
		j.acks.deliver(e, j.msg)
	case callDisconnect:
		e.Member.Disconnect(j.hard)
	}
}

// step ends the call of a turn's member and goes to the next one. It reports whether
// the fanout is still the caller's. If its beat has changed, the member was marked as
// stalled, or is just about to be, and now is not any more.
func (f *fanout) step(t *turn) bool {
	e, at := t.list[t.i], t.base+uint64(t.i)
	t.i++
	if !f.watched || f.beat.CompareAndSwap(at, at+1) {
		return true
	}
	for f.marked.Load() <= at {
		runtime.Gosched() // until takeOver has set the mark
	}
	e.Unstall()
	if f.own {
		t.base += 2 // as mark has done
		f.beat.Add(1)
	}
	return f.own
}

// running returns the beat of the member that is being called, if one is.
func (f *fanout) running() (beat uint64, ok bool) {
	beat = f.beat.Load()
	return beat, beat < f.limit.Load()
}

// underway is a member's call that a fanout is in.
type underway struct {
	fan  *fanout
	beat uint64
}

func (u underway) over() bool { return u.fan.beat.Load() != u.beat }

// turns is how often everybody who waits for a processor gets one before a member is
// said to have stalled. Many may be needed: broadcasts to the same members wait for each
// other at the lock of each member, one after the other.
const turns = 64

// stuck returns those calls that still go on when everybody who waits for a processor
// has had some turns. In a process that has too few of them a call may take long because
// its goroutine, or one that it waits for, has to queue up: that is no member's fault. In
// such a process stuck takes long, too; otherwise it takes no time.
func stuck(calls ...underway) []underway {
	for i := 0; i < turns && len(calls) > 0; i++ {
		runtime.Gosched() // to the end of the queue
		calls = slices.DeleteFunc(calls, underway.over)
	}
	return calls
}

// takeOver takes a watched fanout from its owner if beat is still what it was. It
// returns the member that was being called, and the turn of those after it. The old
// owner cannot be done before claim has returned.
func (f *fanout) takeOver(beat uint64, claim func()) (e *entry, t turn, ok bool) {
	if beat >= f.limit.Load() || !f.beat.CompareAndSwap(beat, beat+2) {
		return nil, turn{}, false
	}
	base := f.base.Load()
	i := int(beat - base)
	e = f.sel.List[i]
	// The old list stays with the old owner. From here on beat is one ahead of the
	// members.
	f.sel.List = slices.Clone(f.sel.List)
	f.base.Store(base + 1)
	f.limit.Add(1)
	f.stalled.Add(1)
	claim()
	e.Stall()
	f.marked.Store(beat + 2)
	return e, turn{job: f.job, list: f.sel.List, base: base + 1, i: i + 1}, true
}

// mark marks the member that is being called in an own fanout as stalled if beat is
// still what it was. The owner cannot be done before that.
func (f *fanout) mark(beat uint64) (e *entry, ok bool) {
	if beat >= f.limit.Load() || !f.beat.CompareAndSwap(beat, beat+2) {
		return nil, false
	}
	e = f.sel.List[beat-f.base.Load()]
	// The owner takes another step when it is back: beat is then that of no member
	// that was seen before.
	f.base.Add(2)
	f.limit.Add(2)
	e.Stall()
	f.marked.Store(beat + 2)
	return e, true
}

// delivered is how many members were called and returned, when all have had their
// turn.
func (f *fanout) delivered() int {
	return max(0, len(f.sel.List)-int(f.skipped.Load()+f.panicked.Load()+f.stalled.Load()))
}
