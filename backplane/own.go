package backplane

import (
	"sync"
	"time"
)

// owns are the fanouts of a namespace that run on the goroutines of Broadcast's and
// its like's callers.
type owns struct {
	mu  sync.Mutex
	all map[*fanout]sight
}

// sight is the keeper's memory of a fanout: the beat it saw last, since when, and
// whether it has found that the call takes too long.
type sight struct {
	beat  uint64
	since time.Time
	late  bool
}

// runOwn calls the selected members on this goroutine, under the keeper's eyes.
func (ns *Namespace) runOwn(f *fanout) {
	f.own, f.watched = true, ns.node.opts.StallTimeout > 0
	t := f.start()
	if f.watched {
		ns.own.mu.Lock()
		if ns.own.all == nil {
			ns.own.all = make(map[*fanout]sight)
		}
		ns.own.all[f] = sight{}
		ns.own.mu.Unlock()
		defer func() {
			ns.own.mu.Lock()
			delete(ns.own.all, f)
			ns.own.mu.Unlock()
		}()
	}
	f.run(t, ns.node)
}

// watch is called by the keeper. A member whose method has not returned for the
// stall timeout is marked: its caller has to wait, but nobody else will.
func (o *owns) watch(ns *Namespace, now time.Time) {
	if list := o.late(now, ns.node.opts.StallTimeout); len(list) > 0 {
		ns.node.workers.Go(func() { o.mark(ns, stuck(list...)) })
	}
}

// late lists the calls that have become late since it was last asked.
func (o *owns) late(now time.Time, timeout time.Duration) (list []underway) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for f, seen := range o.all {
		beat, running := f.running()
		switch {
		case !running:
		case beat != seen.beat:
			o.all[f] = sight{beat: beat, since: now}
		case !seen.late && now.Sub(seen.since) >= timeout:
			seen.late = true
			o.all[f] = seen
			list = append(list, underway{f, beat})
		}
	}
	return list
}

// mark marks the members that are stuck.
func (o *owns) mark(ns *Namespace, list []underway) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, u := range list {
		if e, ok := u.fan.mark(u.beat); ok {
			o.all[u.fan] = sight{beat: u.beat + 2, late: true}
			ns.stalled(e)
		}
	}
}
