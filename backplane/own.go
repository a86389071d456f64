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
// whether it has marked the member.
type sight struct {
	beat   uint64
	since  time.Time
	marked bool
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
func (o *owns) watch(n *Node, namespace string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for f, seen := range o.all {
		beat, running := f.running()
		switch {
		case !running:
		case beat != seen.beat:
			o.all[f] = sight{beat: beat, since: now}
		case seen.marked:
		case now.Sub(seen.since) >= n.opts.StallTimeout:
			if e, ok := f.mark(beat); ok {
				o.all[f] = sight{beat: beat + 2, marked: true}
				n.counters.stalls.Add(1)
				n.reports.report(&StalledError{Namespace: namespace, Member: e.id})
			}
		}
	}
}
