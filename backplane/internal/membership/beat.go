package membership

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// changePause is how long newly opened namespaces wait for others after a frame with changes, so that many need few
// frames. They do not wait where the broker cannot count, because a call of Namespace waits for them there. A closed
// namespace does not wait either, because others would then report this node as missing.
const changePause = 10 * time.Millisecond

// beat is the goroutine that publishes on the control channels: a sign of life at every Heartbeat, and whatever is
// due. While the control channel is down it publishes nothing, so that no outdated frames gather in the broker's
// queue.
func (a *announcer) beat() {
	defer close(a.silent)
	tick := time.NewTicker(a.heartbeat)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	now := time.Now()
	r := round{lists: allowance{left: listBurst, at: now}, asks: maxAsks}
	for {
		r.beat = false
		select {
		case <-a.life.Done():
			return
		case <-tick.C:
			r.beat, r.asks = true, maxAsks
		case <-a.wake:
		case <-pause.C:
		}
		r.begin(a)
		a.mu.Lock()
		if a.peers.down.Load() {
			a.due.clear()
			a.mu.Unlock()
			continue
		}
		out, wait := a.compose(&r)
		a.mu.Unlock()
		for _, f := range out {
			r.sent(&f, a.send(f))
		}
		if wait > 0 {
			pause.Reset(wait)
		}
	}
}

// round is the state of the publishing goroutine while it composes frames.
type round struct {
	now   time.Time
	beat  bool // a sign of life is due
	asks  int  // how many more lists may be requested
	known int  // number of known peers
	list  bool // lists may be sent
	lists allowance
	// to are the nodes that get a sign of life. all: all nodes get it.
	to  []string
	all bool
	// changed is when changes of the list were last published, and told when the last frame to all nodes was.
	changed, told time.Time
}

// begin sets what does not need announcer.mu.
func (r *round) begin(a *announcer) {
	r.now = time.Now()
	r.list, r.known = r.lists.ready(r.now), a.peers.size()
	if r.beat {
		r.to, r.all = a.peers.successors(r.now)
	}
}

// sent records a published frame.
func (r *round) sent(f *addressed, size int) {
	if f.to == everybody {
		r.told = r.now
	}
	if f.kind == kindChange {
		r.changed = r.now
	}
	if f.kind == kindFull {
		if f.part == 0 {
			r.lists.left--
		}
		r.lists.left -= float64(size) / listUnit
	}
}

// allowance is how many more lists may be sent.
type allowance struct {
	left float64
	at   time.Time
}

// ready reports whether a list may be sent.
func (a *allowance) ready(now time.Time) bool {
	a.left = min(listBurst, a.left+float64(now.Sub(a.at))/float64(listPause))
	a.at = now
	return a.left >= 1
}

// addressed is a frame for one node, or for all if to is empty.
type addressed struct {
	frame
	to string
}

// compose takes what is due. If something must wait, it returns for how long. The caller holds a.mu.
func (a *announcer) compose(r *round) (out []addressed, wait time.Duration) {
	d := &a.due
	later := func(left time.Duration) bool {
		if left > 0 && (wait == 0 || left < wait) {
			wait = left
		}
		return left > 0
	}
	var list []served
	if d.hello || r.list && len(d.lists) > 0 {
		list = a.list()
	}
	switch {
	case d.hello:
		f := a.frame(kindHello)
		if pieces := parts(list, a.room()); len(pieces) == 1 {
			f.namespaces, f.listed = list, true
		}
		out = append(out, addressed{f, everybody})
		d.hello, d.alive, d.changes = false, false, nil
	case len(d.changes) > 0 && (a.hurry() || anyRemoved(d.changes) || !later(changePause-r.now.Sub(r.changed))):
		out = a.differences(d.changes)
		d.alive, d.changes = false, nil
	case d.alive && !later(a.peers.patience.defence/2-r.now.Sub(r.told)), r.beat && r.all:
		out = append(out, addressed{a.frame(kindBeat), everybody})
		d.alive = false
	case r.beat:
		for _, id := range append(r.to, a.id) { // this node last: when it receives its own frame, the others have theirs
			out = append(out, addressed{a.frame(kindBeat), id})
		}
	}
	for _, piece := range parts(d.accused, a.room()) {
		if len(piece) > 0 {
			f := a.frame(kindAccuse)
			f.accused = piece
			out = append(out, addressed{f, everybody})
		}
	}
	d.accused = nil
	for id, accused := range d.told {
		f := a.frame(kindAccuse)
		f.accused = []accusation{accused}
		out = append(out, addressed{f, id})
	}
	clear(d.told)
	toAll := false
	if r.list && len(d.lists) > 0 {
		_, forced := d.lists[everybody]
		if toAll = forced || len(d.lists) > listBurst/8 && len(d.lists) > r.known/2; toAll {
			delete(d.lists, everybody)
			for id := range d.lists { // they want a token as well
				if _, there := d.seen[id]; !there {
					d.seen[id] = revisionOf{}
				}
			}
			d.lists = map[string]struct{}{everybody: {}}
		}
	}
	for id, known := range d.seen {
		f := a.frame(kindSeen)
		f.yourSince, f.yourRevision = known.since, known.revision
		out = append(out, addressed{f, id})
	}
	clear(d.seen)
	for id, known := range d.asks {
		if r.asks--; r.asks < 0 {
			break
		}
		f := a.frame(kindAsk)
		f.yourSince, f.yourRevision = known.since, known.revision
		out = append(out, addressed{f, id})
		delete(d.asks, id)
	}
	r.asks = max(r.asks, 0)
	if len(d.lists) > 0 && !r.list {
		later(listPause)
	} else if len(d.lists) > 0 {
		pieces := parts(list, a.room())
		for id := range d.lists {
			for i, piece := range pieces {
				f := a.frame(kindFull)
				f.namespaces, f.part, f.parts = piece, i, len(pieces)
				out = append(out, addressed{f, id})
			}
		}
		clear(d.lists)
	}
	return out, wait
}

func anyRemoved(changes []change) bool {
	return slices.ContainsFunc(changes, func(c change) bool { return c.removed })
}

// differences makes frames of the last changes of the list. The caller holds a.mu.
func (a *announcer) differences(changes []change) (out []addressed) {
	base := a.revision - uint64(len(changes))
	for _, piece := range parts(changes, a.room()) {
		f := a.frame(kindChange)
		f.base, f.revision = base, base+uint64(len(piece))
		last := make(map[Namespace]bool, len(piece)) // whether the last change removed it
		for _, c := range piece {
			last[c.Namespace] = c.removed
		}
		for _, c := range slices.Backward(piece) {
			removed, open := last[c.Namespace]
			if !open {
				continue // an earlier change of it
			}
			delete(last, c.Namespace)
			if removed {
				f.removed = append(f.removed, c.served)
			} else {
				f.namespaces = append(f.namespaces, c.served)
			}
		}
		base = f.revision
		out = append(out, addressed{f, everybody})
	}
	return out
}

// send publishes a frame, and returns its size.
func (a *announcer) send(f addressed) int {
	if f.kind == kindFull {
		f.neighbours, f.settled = a.peers.neighbours(f.to)
	}
	if f.to == everybody || f.to == a.id {
		f.number = a.lease.next()
	}
	if f.to != everybody && f.to != a.id {
		f.token, f.echo = a.peers.tokens(f.to)
	}
	frame := f.append(nil)
	if f.settled && a.limit > 0 && len(frame) > a.limit {
		f.neighbours, f.settled = nil, false // the frame has no room for them
		frame = f.append(nil)
	}
	return a.publish(f.to, frame)
}

// publish publishes a frame to one node, or to all if to is empty, and returns its size.
func (a *announcer) publish(to string, frame []byte) int {
	ch := broker.Control()
	if to != everybody {
		ch = broker.NodeControl(to)
	}
	ctx, cancel := context.WithTimeout(a.life, a.heartbeat)
	defer cancel()
	if err := a.broker.Publish(ctx, ch, frame); err != nil && ctx.Err() == nil && !errors.Is(err, broker.ErrClosed) {
		a.unsent(err)
	}
	return len(frame)
}
