package backplane

import (
	"runtime"
	"sync/atomic"
)

// fanout calls one method of each selected member, in turn, without a lock and
// without an allocation. A panic is reported and the next member is called.
//
// A watched fanout can be taken over: if a member's method does not return, the
// node's keeper takes the fanout away from the goroutine that is stuck in it and
// has another one go on with the next member. beat decides who owns it: the owner
// advances it by compare-and-swap after each member, and an owner whose swap fails
// has lost everything but the one member it was calling.
type fanout struct {
	sel selection
	job

	// Members so far that were not called, that panicked, and in whose calls a
	// goroutine was left behind. Atomic because a goroutine that has just called
	// the last member that returned may count while the keeper takes over.
	skipped, panicked, stalled atomic.Int32

	watched bool
	beat    atomic.Uint64 // never the same twice
	base    atomic.Uint64 // beat of member 0
	limit   atomic.Uint64 // beat after the last member: it runs as long as beat is below
	marked  atomic.Uint64 // beat after the last takeover, once its member is marked
}

// job is what is done to each member.
type job struct {
	call callKind
	msg  *Message
	acks *ackCollector // callAck
	hard bool          // callDisconnect: with the connection
	all  bool          // also to a member that is stalled
}

type callKind uint8

const (
	callDeliver callKind = iota
	callAck
	callDisconnect
)

var callNames = [...]string{"Deliver", "DeliverAck", "Disconnect"}

// start makes the fanout the caller's and ready to run from member 0.
func (f *fanout) start() {
	f.skipped.Store(0)
	f.panicked.Store(0)
	f.stalled.Store(0)
	if f.watched {
		base := f.beat.Add(1)
		f.base.Store(base)
		f.limit.Store(base + uint64(len(f.sel.list)))
	}
}

// run calls the members from i on. It returns false if the fanout was taken over
// meanwhile; the caller must then touch neither it nor anything that goes with it.
func (f *fanout) run(i int, n *Node) bool {
	for i < len(f.sel.list) {
		var owned bool
		if i, owned = f.stretch(i, n); !owned {
			return false
		}
	}
	return true
}

// stretch calls members from i on up to the end or the first one that panics, and
// returns where to go on.
func (f *fanout) stretch(i int, n *Node) (next int, owned bool) {
	// Copies: after a takeover nothing of f may be read but beat and marked.
	list, j, base := f.sel.list, f.job, f.base.Load()
	defer func() {
		if v := recover(); v != nil {
			n.panicked(callNames[j.call], list[i].id, v)
			if next, owned = i+1, f.step(base, i, list[i]); owned {
				f.panicked.Add(1)
			}
		}
	}()
	for ; i < len(list); i++ {
		e := list[i]
		ready := j.ready(e)
		if ready {
			j.do(e)
		}
		if !f.step(base, i, e) {
			return i, false
		}
		if !ready {
			f.skipped.Add(1)
		}
	}
	return i, true
}

func (j *job) ready(e *entry) bool {
	state := e.state.Load()
	return state == 0 || j.all && state&entryGone == 0
}

func (j *job) do(e *entry) {
	switch j.call {
	case callDeliver:
		e.member.Deliver(j.msg)
	case callAck:
		j.acks.deliver(e, j.msg)
	case callDisconnect:
		e.member.Disconnect(j.hard)
	}
}

// step says that member i is done with, and reports whether the fanout is still the
// caller's. If not, the member was marked as stalled, or is just about to be, and
// now is not any more.
func (f *fanout) step(base uint64, i int, e *entry) bool {
	at := base + uint64(i)
	if !f.watched || f.beat.CompareAndSwap(at, at+1) {
		return true
	}
	for f.marked.Load() <= at {
		runtime.Gosched() // until takeOver has set the mark
	}
	e.state.Add(^uint32(entryStalled - 1))
	return false
}

// running returns the beat of the member that is being called, if one is.
func (f *fanout) running() (beat uint64, ok bool) {
	beat = f.beat.Load()
	return beat, beat < f.limit.Load()
}

// takeOver takes a watched fanout from its owner if beat is still what it was. It
// returns the member that was being called, and where to go on. The old owner cannot
// be done before claim has returned.
func (f *fanout) takeOver(beat uint64, claim func()) (e *entry, next int, ok bool) {
	if beat >= f.limit.Load() || !f.beat.CompareAndSwap(beat, beat+2) {
		return nil, 0, false
	}
	base := f.base.Load()
	i := int(beat - base)
	// From here on beat is one ahead of the members.
	f.base.Store(base + 1)
	f.limit.Add(1)
	f.stalled.Add(1)
	claim()
	e = f.sel.list[i]
	e.state.Add(entryStalled)
	f.marked.Store(beat + 2)
	return e, i + 1, true
}

// delivered is how many members were called and returned, when all have had their
// turn.
func (f *fanout) delivered() int {
	return max(0, len(f.sel.list)-int(f.skipped.Load()+f.panicked.Load()+f.stalled.Load()))
}
