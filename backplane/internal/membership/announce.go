package membership

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Limits of what a node publishes on the control channels.
const (
	// maxPart is the size of a control frame in bytes, unless the broker's MaxPayload is
	// smaller. Longer lists go in parts.
	maxPart = 32 << 10
	// maxAsks is how many lists a node asks for in a Heartbeat.
	maxAsks = 256
	// A node sends its list to others that ask for it at once, up to listBurst of them,
	// and then one every listPause. A list of more than listUnit bytes counts as several.
	// When more than half of the known nodes wait for it, it is sent to all nodes.
	listBurst = 64
	listPause = 10 * time.Millisecond
	listUnit  = 160 << 10
)

// announcer publishes on the control channels: that this node lives, which namespaces it
// serves, and what the keeper has for other nodes.
type announcer struct {
	broker    broker.Broker
	id        string
	since     int64
	limit     int // largest payload, 0 none
	life      context.Context
	heartbeat time.Duration
	timeout   time.Duration // PeerTimeout
	unsent    func(error)
	peers     *table

	lease  lease
	wake   chan struct{}
	silent chan struct{} // closed when beat has ended

	mu       sync.Mutex
	revision uint64 // of the list of namespaces
	serves   map[Namespace]string
	due      due
}

// due is what is to be published.
type due struct {
	// hello: greet all nodes. The greeting takes the place of changes.
	hello bool
	// changes of the list of namespaces that no frame has told yet, oldest first. Each
	// is one revision.
	changes []change
	// asks are the nodes to be asked for their list, unless it has that revision, lists
	// those that want this node's, and seen those that are told which revision of theirs
	// is known here.
	asks, seen map[string]revisionOf
	lists      map[string]struct{}
}

// change is one change of a list of namespaces.
type change struct {
	served
	removed bool
}

// revisionOf is a revision of a list of namespaces, in one life of a node.
type revisionOf struct {
	since    int64
	revision uint64
}

func (a *announcer) init(o *Options, limit int, peers *table) {
	a.broker, a.id, a.since, a.limit, a.life = o.Broker, o.ID, o.Since.UnixNano(), limit, o.Life
	a.heartbeat, a.timeout, a.unsent, a.peers = o.Heartbeat, o.PeerTimeout, o.Events.Unsent, peers
	a.lease.init(o.Heartbeat, o.PeerTimeout)
	a.wake, a.silent = make(chan struct{}, 1), make(chan struct{})
	a.serves = make(map[Namespace]string)
	a.due.clear()
}

func (d *due) clear() {
	d.hello, d.changes = false, nil
	d.asks, d.seen = make(map[string]revisionOf), make(map[string]revisionOf)
	d.lists = make(map[string]struct{})
}

// note has the beat goroutine publish something, which f adds to what is due.
func (a *announcer) note(f func(d *due)) {
	a.mu.Lock()
	f(&a.due)
	a.mu.Unlock()
	signal(a.wake)
}

// greet introduces this node to all others, and has them introduce themselves.
func (a *announcer) greet() { a.note(func(d *due) { d.hello = true }) }

// ask wants the lists of some nodes.
func (a *announcer) ask(ids ...string) {
	if len(ids) > 0 {
		a.note(func(d *due) {
			for _, id := range ids {
				d.asks[id] = revisionOf{}
			}
		})
	}
}

// everybody stands in due.lists for all nodes.
const everybody = ""

// reply sends this node's list to a node that asked for it.
func (a *announcer) reply(id string) {
	a.note(func(d *due) {
		if len(d.lists) < maxPeers {
			d.lists[id] = struct{}{}
		}
	})
}

// answer answers a node that asks for the list of this one, with a sign of life if it
// has that.
func (a *announcer) answer(f *frame) {
	a.mu.Lock()
	current := f.yourSince == a.since && f.yourRevision == a.revision
	a.mu.Unlock()
	if current {
		a.confirm(f.id, revisionOf{f.since, 0})
	} else {
		a.reply(f.id)
	}
}

// confirm tells a node which revision of its list is known here.
func (a *announcer) confirm(id string, known revisionOf) {
	a.note(func(d *due) {
		if len(d.seen) < maxPeers {
			d.seen[id] = known
		}
	})
}

// changed notes a change of the list of namespaces, and returns the revision that has it.
func (a *announcer) changed(c change) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.removed {
		c.Speaks = a.serves[c.Namespace]
		delete(a.serves, c.Namespace)
	} else {
		a.serves[c.Namespace] = c.Speaks
	}
	a.revision++
	a.due.changes = append(a.due.changes, c)
	return a.revision
}

// list returns the namespaces of the node, sorted, so that every list of one revision
// has the same parts. a.mu is held.
func (a *announcer) list() []served {
	list := make([]served, 0, len(a.serves))
	for ns, speaks := range a.serves {
		list = append(list, served{ns, speaks})
	}
	slices.SortFunc(list, func(a, b served) int {
		if c := strings.Compare(a.Protocol.String(), b.Protocol.String()); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// frame returns a frame of this node. a.mu is held.
func (a *announcer) frame(kind frameKind) frame {
	return frame{kind: kind, id: a.id, since: a.since, revision: a.revision}
}

// room is how many bytes of namespaces fit into a frame.
func (a *announcer) room() int {
	size := maxPart
	if a.limit > 0 {
		size = min(size, a.limit)
	}
	size -= len(a.id) + 64
	if neighbours := maxNeighbours * (maxNodeID + 2); size > 2*neighbours {
		size -= neighbours
	}
	return size
}

// announceable refuses a namespace whose announcement is too large for the broker.
func (a *announcer) announceable(ns served) error {
	if a.limit == 0 {
		return nil
	}
	a.mu.Lock()
	f := a.frame(kindChange)
	a.mu.Unlock()
	f.namespaces = []served{ns}
	if size := len(f.append(nil)) + 32; size > a.limit { // numbers may grow
		return &broker.PayloadError{Size: size, Max: a.limit}
	}
	return nil
}

// parts cuts a list into pieces that fit into a frame, at least one.
func parts[E interface{ size() int }](list []E, room int) (pieces [][]E) {
	start, size := 0, 0
	for i, e := range list {
		if size += e.size(); size > room && i > start {
			pieces = append(pieces, list[start:i])
			start, size = i, e.size()
		}
	}
	return append(pieces, list[start:])
}

// beat is the goroutine that publishes on the control channels: a sign of life at every
// Heartbeat, and whatever is due. While the control channel is down it publishes
// nothing, so that no stale frames gather in the broker's queue.
func (a *announcer) beat() {
	defer close(a.silent)
	tick := time.NewTicker(a.heartbeat)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	lists := allowance{left: listBurst}
	asks := maxAsks
	for {
		alive := false
		select {
		case <-a.life.Done():
			return
		case <-tick.C:
			alive, asks = true, maxAsks
		case <-a.wake:
		case <-pause.C:
		}
		ready, known := lists.ready(time.Now()), a.peers.size()
		a.mu.Lock()
		if a.peers.down.Load() {
			a.due.clear()
			a.mu.Unlock()
			continue
		}
		out := a.compose(alive, &asks, ready, known)
		waiting := len(a.due.lists) > 0
		a.mu.Unlock()
		for _, f := range out {
			if f.kind == kindFull {
				f.neighbours, f.settled = a.peers.neighbours(f.to)
			}
			if f.to == everybody {
				f.number = a.lease.next()
			}
			frame := f.append(nil)
			if f.settled && a.limit > 0 && len(frame) > a.limit {
				f.neighbours, f.settled = nil, false // there is no room for them
				frame = f.append(nil)
			}
			size := a.publish(f.to, frame)
			if f.kind == kindFull && f.part == 0 {
				lists.left--
			}
			if f.kind == kindFull {
				lists.left -= float64(size) / listUnit
			}
		}
		if waiting {
			pause.Reset(listPause)
		}
	}
}

// allowance is how many lists may be sent yet.
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

// addressed is a frame on its way to one node, or to all if to is empty.
type addressed struct {
	frame
	to string
}

// compose takes what is due. asks is how many nodes may be asked yet, lists whether
// lists may be sent, and known how many nodes there are. a.mu is held.
func (a *announcer) compose(beat bool, asks *int, lists bool, known int) (out []addressed) {
	d := &a.due
	var list []served
	if d.hello || lists && len(d.lists) > 0 {
		list = a.list()
	}
	switch {
	case d.hello:
		f := a.frame(kindHello)
		if pieces := parts(list, a.room()); len(pieces) == 1 {
			f.namespaces, f.listed = list, true
		}
		out = append(out, addressed{f, everybody})
	case len(d.changes) > 0:
		out = a.differences(d.changes)
	case beat:
		out = append(out, addressed{a.frame(kindBeat), everybody})
	}
	d.hello, d.changes = false, nil
	for id, known := range d.seen {
		f := a.frame(kindSeen)
		f.yourSince, f.yourRevision = known.since, known.revision
		out = append(out, addressed{f, id})
	}
	clear(d.seen)
	for id, known := range d.asks {
		if *asks--; *asks < 0 {
			break
		}
		f := a.frame(kindAsk)
		f.yourSince, f.yourRevision = known.since, known.revision
		out = append(out, addressed{f, id})
		delete(d.asks, id)
	}
	*asks = max(*asks, 0)
	if lists && len(d.lists) > 0 {
		if _, all := d.lists[everybody]; all || len(d.lists) > listBurst/8 && len(d.lists) > known/2 {
			d.lists = map[string]struct{}{everybody: {}}
		}
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
	return out
}

// differences makes frames of the last changes of the list. a.mu is held.
func (a *announcer) differences(changes []change) (out []addressed) {
	base := a.revision - uint64(len(changes))
	for _, piece := range parts(changes, a.room()) {
		f := a.frame(kindChange)
		f.base, f.revision = base, base+uint64(len(piece))
		last := make(map[Namespace]bool, len(piece)) // whether it was removed in the end
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

// publish publishes a frame to one node, or to all if to is empty, and returns
// its size.
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

// goodbye is Membership.Goodbye.
func (a *announcer) goodbye(ctx context.Context) {
	<-a.silent
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	down := a.peers.down.Load()
	a.mu.Lock()
	f := a.frame(kindBye)
	a.mu.Unlock()
	f.number = a.lease.next()
	if err := a.broker.Publish(ctx, broker.Control(), f.append(nil)); err == nil && !down {
		_ = a.broker.Flush(ctx) // what the broker loses it reports itself
	}
}

// signal wakes the goroutine that waits at ch, which has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
