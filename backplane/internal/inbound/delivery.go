package inbound

import (
	"context"
	"sync/atomic"

	"github.com/crossroom/crossroom/internal/rooms"
)

// Call is a method of a member with its arguments.
type Call[M any] interface {
	// Do calls the method.
	Do(e *rooms.Entry[M])
	// Method is the method's name, for reports.
	Method() string
}

// Delivery calls a method of each selected member, one after the other, without a lock and without an allocation. A
// panic is reported, and the next member is called. A Delivery is reused.
type Delivery[M any] struct {
	rooms.Selection[M]
	Call Call[M]
	// Context is for reports; nil means none.
	Context context.Context
	// All means that stalled members are called as well.
	All bool

	// Atomic because a worker counts after its step, when the next takeover may happen.
	skipped, panicked, stalled atomic.Int32
}

// Reset empties the delivery for the next use.
func (d *Delivery[M]) Reset() {
	d.Selection.Reset()
	d.Call, d.Context, d.All = nil, nil, false
	for _, n := range [...]*atomic.Int32{&d.skipped, &d.panicked, &d.stalled} {
		if n.Load() != 0 { // a store costs more than a load
			n.Store(0)
		}
	}
}

// Skipped returns how many members were not called, because they were stalled or removed.
func (d *Delivery[M]) Skipped() int { return int(d.skipped.Load()) }

// Panicked returns how many calls panicked.
func (d *Delivery[M]) Panicked() int { return int(d.panicked.Load()) }

// Delivered returns how many calls returned, after all members were called.
func (d *Delivery[M]) Delivered() int {
	return max(0, len(d.List)-int(d.skipped.Load()+d.panicked.Load()+d.stalled.Load()))
}

// Run calls the members on this goroutine, and returns when all have returned.
func (d *Delivery[M]) Run(r Reporter) {
	t := turn[M]{delivery: d, reporter: r, list: d.List, call: d.Call, ctx: d.Context, all: d.All}
	t.run()
}

// turn is the state for calling members. Each goroutine has its own copy, so that it reads nothing that it may lose.
type turn[M any] struct {
	delivery *Delivery[M]
	reporter Reporter
	list     []*rooms.Entry[M] // never written to until the turn is done or lost
	call     Call[M]
	ctx      context.Context
	all      bool
	i        int // index of the next member

	queue  *Queue[M]      // of a worker
	word   *atomic.Uint64 // its word of state; nil: the turn cannot be lost
	number uint64         // of the delivery
}

// run calls the remaining members. It returns false if the turn was lost.
func (t *turn[M]) run() bool {
	for t.i < len(t.list) {
		if !t.stretch() {
			return false
		}
	}
	return true
}

// stretch calls members up to the last one, or the first one that panics. It returns false if the turn was lost.
func (t *turn[M]) stretch() (owned bool) {
	defer func() {
		if v := recover(); v != nil {
			t.reporter.Panicked(t.ctx, t.call.Method(), t.list[t.i].ID(), v)
			if owned = t.step(); owned {
				t.delivery.panicked.Add(1)
			}
		}
	}()
	for t.i < len(t.list) {
		if t.i%ahead == 0 {
			t.touch()
		}
		e := t.list[t.i]
		ready := e.Ready() || t.all && !e.Gone()
		if ready {
			t.call.Do(e)
		}
		if !t.step() {
			return false
		}
		if !ready {
			t.delivery.skipped.Add(1)
		}
	}
	return true
}

// ahead is the number of entries that are prefetched. In a large room each of them is a cache miss, and the processor
// waits for several together as long as for one.
const ahead = 16

// touch reads the next entries into the cache.
func (t *turn[M]) touch() {
	for _, e := range t.list[t.i:min(t.i+ahead, len(t.list))] {
		e.Ready()
	}
}
