package backplane

import (
	"runtime"
	"runtime/debug"
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
	sel  selection
	call callKind
	msg  *Message
	acks *ackCollector // callAck
	hard bool          // callDisconnect: with the connection

	delivered, skipped, panicked int

	watched bool
	active  atomic.Bool
	beat    atomic.Uint64 // never the same twice
	base    atomic.Uint64 // beat of member 0
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
	f.delivered, f.skipped, f.panicked = 0, 0, 0
	if f.watched {
		f.base.Store(f.beat.Add(1))
		f.active.Store(true)
	}
}

// run calls the members from i on. It returns false if the fanout was taken over
// meanwhile; the caller must then touch neither it nor anything that goes with it.
func (f *fanout) run(i int, report func(error)) bool {
	for i < len(f.sel.list) {
		var owned bool
		if i, owned = f.stretch(i, report); !owned {
			return false
		}
	}
	if f.watched {
		f.active.Store(false)
	}
	return true
}

// stretch calls members from i on up to the end or the first one that panics, and
// returns where to go on.
func (f *fanout) stretch(i int, report func(error)) (next int, owned bool) {
	// Copies: after a takeover nothing of f may be read.
	list, base, name := f.sel.list, f.base.Load(), callNames[f.call]
	defer func() {
		if v := recover(); v != nil {
			report(&PanicError{What: name, Member: list[i].id, Value: v, Stack: debug.Stack()})
			if next, owned = i+1, f.step(base, i, list[i]); owned {
				f.panicked++
			}
		}
	}()
	for ; i < len(list); i++ {
		e := list[i]
		ready := e.state.Load() == 0
		if ready {
			f.one(e)
		}
		if !f.step(base, i, e) {
			return i, false
		}
		if ready {
			f.delivered++
		} else {
			f.skipped++
		}
	}
	return i, true
}

func (f *fanout) one(e *entry) {
	switch f.call {
	case callDeliver:
		e.member.Deliver(f.msg)
	case callAck:
		f.acks.deliver(e, f.msg)
	case callDisconnect:
		e.member.Disconnect(f.hard)
	}
}

// step says that member i is done with, and reports whether the fanout is still the
// caller's. If not, the member was marked as stalled, or is just about to be, and
// now is not any more.
func (f *fanout) step(base uint64, i int, e *entry) bool {
	if !f.watched || f.beat.CompareAndSwap(base+uint64(i), base+uint64(i)+1) {
		return true
	}
	for e.state.Load() < entryStalled {
		runtime.Gosched() // until takeOver has set the mark
	}
	e.state.Add(^uint32(entryStalled - 1))
	return false
}

// takeOver takes a watched fanout from its owner if beat is still what it was. It
// returns the member that was being called, and where to go on.
func (f *fanout) takeOver(beat uint64) (e *entry, next int, ok bool) {
	if !f.active.Load() || !f.beat.CompareAndSwap(beat, beat+2) {
		return nil, 0, false
	}
	i := int(beat - f.base.Load())
	f.base.Store(beat + 2 - uint64(i+1))
	e = f.sel.list[i]
	e.state.Add(entryStalled)
	return e, i + 1, true
}
