package membership

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A node that starts, or whose link was restored, greets all others, and each introduces itself with its list of
// namespaces. Where the broker counts subscribers, a query sees by their number that some have not done so yet. Where
// it cannot, the call that opens a namespace waits for the introductions, and so do queries.
//
// The number of nodes is found in this way. Each node that is sure to know all others names the next ones after it in
// the order of ids, as in a ring. So if the ring of the introduced nodes is closed, no node is missing. Otherwise a
// missing node is known by name and can be asked. A node that does not know all others yet names none. Then the node
// before it names its successors, or else the time for introductions elapses.

// introduction is the state of this node's knowledge of the others. table.mu guards it.
type introduction struct {
	down     atomic.Bool   // the control channel is down
	until    time.Time     // the end of the wait for introductions; zero: they are complete
	echoed   bool          // this node received its own greeting: it is not lost
	answered bool          // a node has introduced itself
	known    bool          // a node that knows all others has introduced itself
	event    chan struct{} // closed at the next change; nil if no goroutine waits for it
}

// introduce begins introductions: this node may not know all others.
func (t *table) introduce() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Now().Add(t.introTime)
	t.echoed, t.answered, t.known = false, false, false
	for _, p := range t.byID {
		p.settled, p.covers, p.met = false, "", false
	}
}

// setDown records whether the control channel is down.
func (t *table) setDown(down bool) {
	t.down.Store(down)
	t.mu.Lock()
	t.moved()
	t.mu.Unlock()
}

// moved wakes the goroutines that wait for introductions. The caller holds t.mu.
func (t *table) moved() {
	if t.event != nil {
		close(t.event)
		t.event = nil
	}
}

// watch returns a channel that is closed at the next change. The caller holds t.mu.
func (t *table) watch() <-chan struct{} {
	if t.event == nil {
		t.event = make(chan struct{})
	}
	return t.event
}

// pending returns the end of the wait for introductions; zero if they are complete. The caller holds t.mu.
func (t *table) pending(now time.Time) (until time.Time) {
	open := false // the ring is open
	for _, p := range t.byID {
		if p.state != live || p.stale.IsZero() || p.stranger() && !t.until.After(now) {
			continue
		}
		open = true
		if end := p.stale.Add(t.introTime); end.After(now) && end.After(until) {
			until = end
		}
	}
	if t.known && !open && t.until.After(now) && t.closed() {
		t.until = time.Time{}
	}
	if t.until.After(now) && t.until.After(until) {
		until = t.until
	}
	return until
}

// closed reports whether the next node after each known one is known as well. A node that may not know all nodes does
// not name its successor, but the node before it may. The caller holds t.mu.
func (t *table) closed() bool {
	open := make(map[string]bool)
	for id, p := range t.byID {
		if p.state == live && !p.settled {
			open[id] = true
		}
	}
	for _, p := range t.byID {
		if p.state == live && p.settled {
			delete(open, p.covers)
		}
	}
	return len(open) == 0
}

// neighbours lists the next nodes after this one in the order of ids, without the recipient. settled is false if
// unknown nodes may exist.
func (t *table) neighbours(to string) (ids []string, settled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until.After(time.Now()) && !t.pending(time.Now()).IsZero() {
		return nil, false
	}
	me := t.id
	after := func(a, b string) int { // cyclic, beginning with this node
		if (a > me) != (b > me) {
			if a > me {
				return -1
			}
			return 1
		}
		if a < b {
			return -1
		}
		return 1
	}
	for id, p := range t.byID {
		if p.state != live || id == to || p.stranger() {
			continue
		}
		i := 0
		for i < len(ids) && after(ids[i], id) < 0 {
			i++
		}
		if i < maxNeighbours {
			ids = slices.Insert(ids, i, id)
			ids = ids[:min(len(ids), maxNeighbours)]
		}
	}
	return ids, true
}

// introduced handles the neighbours that a node named in response to a greeting. It returns the unknown ones, which
// must be asked.
func (t *table) introduced(f *frame) (ask []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[f.id]; p == nil || p.stranger() && !t.until.After(time.Now()) {
		return nil // no node greeted it
	}
	t.answered = true
	if !f.settled {
		return nil
	}
	now := time.Now()
	others := slices.DeleteFunc(slices.Clone(f.neighbours), func(id string) bool { return id == t.id })
	if p := t.byID[f.id]; p != nil {
		p.settled = true
		if len(others) == maxNeighbours || len(others) == 1 && len(f.neighbours) == 1 {
			p.covers = strings.Clone(others[0])
		}
	}
	for _, id := range others {
		if t.byID[id] != nil {
			continue
		}
		if p := t.add(id, 0); p != nil {
			p.outdated(now)
			t.mayAsk(p, now)
			ask = append(ask, id)
		}
	}
	t.known = true
	t.moved()
	return ask
}

// echo records that this node received its own greeting.
func (t *table) echo() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.echoed = true
}

// insist returns the unanswered requests to repeat: asks, and a greeting. It reports whether there is something to
// wait for.
func (t *table) insist() (ask []string, greet, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, p := range t.byID {
		if p.state == live && !p.stale.IsZero() && now.Sub(p.stale) < t.introTime && (!p.stranger() || t.until.After(now)) {
			again = true
			if t.mayAsk(p, now) {
				ask = append(ask, p.id)
			}
		}
	}
	return ask, !t.known && !(t.answered && t.echoed) && t.until.After(now), again
}

// await waits until the time that f returns; zero ends the wait. f is called with t.mu held, and again at every
// change. The end of the node or of the context ends the wait too.
func (t *table) await(ctx context.Context, f func() (until time.Time)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t.mu.Lock()
		left := time.Until(f())
		var event <-chan struct{}
		if left > 0 {
			event = t.watch()
		}
		t.mu.Unlock()
		if left <= 0 {
			return
		}
		timer.Reset(left)
		select {
		case <-event:
		case <-timer.C:
		case <-t.life.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// forever is a wait that only an event ends.
const forever = 24 * time.Hour

// awaitPeers waits until n peers are known and introductions are complete.
func (t *table) awaitPeers(ctx context.Context, n int) {
	t.await(ctx, func() time.Time {
		known := 0
		for _, p := range t.byID {
			if p.state == live && p.proved {
				known++
			}
		}
		if known < n {
			return time.Now().Add(forever)
		}
		return t.pending(time.Now())
	})
}

// meet waits until this node knows the others, and they know its list of namespaces at a revision.
func (t *table) meet(ctx context.Context, revision uint64) {
	confirmed := func(p *peer) bool {
		return p.state != live || p.knows >= revision || p.slow || t.suspect(p, time.Now()) || p.since == 0
	}
	end := time.Now().Add(t.introTime)
	t.await(ctx, func() time.Time {
		if !t.pending(time.Now()).IsZero() {
			return end
		}
		for _, p := range t.byID {
			if !confirmed(p) {
				return end
			}
		}
		return time.Time{}
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		p.slow = p.slow || ctx.Err() == nil && !confirmed(p)
	}
}
