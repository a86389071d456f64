package backplane

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// announcements are what a node is to publish on the control channels. Node.mu guards
// them; the beat goroutine takes them.
type announcements struct {
	wake chan struct{}
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
	spoken
	removed bool
}

// revisionOf is a revision of a list of namespaces, in one life of a node.
type revisionOf struct {
	since    int64
	revision uint64
}

func (a *announcements) init() {
	a.wake = make(chan struct{}, 1)
	a.clear()
}

func (a *announcements) clear() {
	a.hello, a.changes = false, nil
	a.asks, a.seen = make(map[string]revisionOf), make(map[string]revisionOf)
	a.lists = make(map[string]struct{})
}

// note has the beat goroutine publish something, which f adds to what is due.
func (n *Node) note(f func(a *announcements)) {
	n.mu.Lock()
	f(&n.due)
	n.mu.Unlock()
	signal(n.due.wake)
}

// greet introduces this node to all others, and has them introduce themselves.
func (n *Node) greet() { n.note(func(a *announcements) { a.hello = true }) }

// ask wants the lists of some nodes.
func (n *Node) ask(ids ...string) {
	if len(ids) > 0 {
		n.note(func(a *announcements) {
			for _, id := range ids {
				a.asks[id] = revisionOf{}
			}
		})
	}
}

// everybody stands in announcements.lists for all nodes.
const everybody = ""

// reply sends this node's list to a node that asked for it.
func (n *Node) reply(id string) {
	n.note(func(a *announcements) {
		if len(a.lists) < maxPeers {
			a.lists[id] = struct{}{}
		}
	})
}

// answer answers a node that asks for the list of this one, with a sign of life if it
// has that.
func (n *Node) answer(f *controlFrame) {
	n.mu.Lock()
	current := f.yourSince == n.since.UnixNano() && f.yourRevision == n.revision
	n.mu.Unlock()
	if current {
		n.confirm(f.id, revisionOf{f.since, 0})
	} else {
		n.reply(f.id)
	}
}

// confirm tells a node which revision of its list is known here.
func (n *Node) confirm(id string, known revisionOf) {
	n.note(func(a *announcements) {
		if len(a.seen) < maxPeers {
			a.seen[id] = known
		}
	})
}

// changed notes a change of the list of namespaces. n.mu is held.
func (n *Node) changed(ns *Namespace, removed bool) {
	n.revision++
	c := change{spoken{nsKey{ns.protocol, ns.name}, ns.codec.Hello()}, removed}
	n.due.changes = append(n.due.changes, c)
}

// list returns the namespaces of the node, sorted, so that every list of one revision
// has the same parts. n.mu is held.
func (n *Node) list() []spoken {
	list := make([]spoken, 0, len(n.namespaces))
	for key, ns := range n.namespaces {
		list = append(list, spoken{key, ns.codec.Hello()})
	}
	slices.SortFunc(list, func(a, b spoken) int {
		if c := strings.Compare(a.key.protocol.String(), b.key.protocol.String()); c != 0 {
			return c
		}
		return strings.Compare(a.key.name, b.key.name)
	})
	return list
}

// frame returns a frame of this node. n.mu is held.
func (n *Node) frame(kind controlKind) controlFrame {
	return controlFrame{kind: kind, id: n.id, since: n.since.UnixNano(), revision: n.revision}
}

// room is how many bytes of namespaces fit into a frame.
func (n *Node) room() int {
	size := maxPart
	if n.limit > 0 {
		size = min(size, n.limit)
	}
	size -= len(n.id) + 64
	if neighbours := maxNeighbours * (maxNodeID + 2); size > 2*neighbours {
		size -= neighbours
	}
	return size
}

// announceable refuses a namespace whose announcement is too large for the broker.
func (n *Node) announceable(ns *Namespace) error {
	if n.limit == 0 {
		return nil
	}
	n.mu.Lock()
	f := n.frame(controlChange)
	n.mu.Unlock()
	f.namespaces = []spoken{{nsKey{ns.protocol, ns.name}, ns.codec.Hello()}}
	if size := len(f.append(nil)) + 32; size > n.limit { // numbers may grow
		return &broker.PayloadError{Size: size, Max: n.limit}
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
func (n *Node) beat() {
	defer close(n.silent)
	tick := time.NewTicker(n.opts.Heartbeat)
	defer tick.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	lists := allowance{left: listBurst}
	asks := maxAsks
	for {
		alive := false
		select {
		case <-n.life.Done():
			return
		case <-tick.C:
			alive, asks = true, maxAsks
		case <-n.due.wake:
		case <-pause.C:
		}
		ready, known := lists.ready(time.Now()), n.peers.size()
		n.mu.Lock()
		if n.linkDown {
			n.due.clear()
			n.mu.Unlock()
			continue
		}
		out := n.compose(alive, &asks, ready, known)
		waiting := len(n.due.lists) > 0
		n.mu.Unlock()
		for _, f := range out {
			if f.kind == controlFull {
				f.neighbours, f.settled = n.peers.neighbours(f.to)
			}
			if f.to == everybody {
				f.number = n.lease.next()
			}
			frame := f.append(nil)
			if f.settled && n.limit > 0 && len(frame) > n.limit {
				f.neighbours, f.settled = nil, false // there is no room for them
				frame = f.append(nil)
			}
			size := n.publishControl(f.to, frame)
			if f.kind == controlFull && f.part == 0 {
				lists.left--
			}
			if f.kind == controlFull {
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
	controlFrame
	to string
}

// compose takes what is due. asks is how many nodes may be asked yet, lists whether
// lists may be sent, and known how many nodes there are. n.mu is held.
func (n *Node) compose(alive bool, asks *int, lists bool, known int) (out []addressed) {
	a := &n.due
	var list []spoken
	if a.hello || lists && len(a.lists) > 0 {
		list = n.list()
	}
	switch {
	case a.hello:
		f := n.frame(controlHello)
		if pieces := parts(list, n.room()); len(pieces) == 1 {
			f.namespaces, f.listed = list, true
		}
		out = append(out, addressed{f, everybody})
	case len(a.changes) > 0:
		out = n.differences(a.changes)
	case alive:
		out = append(out, addressed{n.frame(controlBeat), everybody})
	}
	a.hello, a.changes = false, nil
	for id, known := range a.seen {
		f := n.frame(controlSeen)
		f.yourSince, f.yourRevision = known.since, known.revision
		out = append(out, addressed{f, id})
	}
	clear(a.seen)
	for id, known := range a.asks {
		if *asks--; *asks < 0 {
			break
		}
		f := n.frame(controlAsk)
		f.yourSince, f.yourRevision = known.since, known.revision
		out = append(out, addressed{f, id})
		delete(a.asks, id)
	}
	*asks = max(*asks, 0)
	if lists && len(a.lists) > 0 {
		if _, all := a.lists[everybody]; all || len(a.lists) > listBurst/8 && len(a.lists) > known/2 {
			a.lists = map[string]struct{}{everybody: {}}
		}
		pieces := parts(list, n.room())
		for id := range a.lists {
			for i, piece := range pieces {
				f := n.frame(controlFull)
				f.namespaces, f.part, f.parts = piece, i, len(pieces)
				out = append(out, addressed{f, id})
			}
		}
		clear(a.lists)
	}
	return out
}

// differences makes frames of the last changes of the list. n.mu is held.
func (n *Node) differences(changes []change) (out []addressed) {
	base := n.revision - uint64(len(changes))
	for _, piece := range parts(changes, n.room()) {
		f := n.frame(controlChange)
		f.base, f.revision = base, base+uint64(len(piece))
		last := make(map[nsKey]bool, len(piece)) // whether it was removed in the end
		for _, c := range piece {
			last[c.key] = c.removed
		}
		for _, c := range slices.Backward(piece) {
			removed, open := last[c.key]
			if !open {
				continue // an earlier change of it
			}
			delete(last, c.key)
			if removed {
				f.removed = append(f.removed, c.spoken)
			} else {
				f.namespaces = append(f.namespaces, c.spoken)
			}
		}
		base = f.revision
		out = append(out, addressed{f, everybody})
	}
	return out
}

// publishControl publishes a frame to one node, or to all if to is empty, and returns
// its size.
func (n *Node) publishControl(to string, frame []byte) int {
	ch := broker.Control()
	if to != everybody {
		ch = broker.NodeControl(to)
	}
	ctx, cancel := context.WithTimeout(n.life, n.opts.Heartbeat)
	defer cancel()
	if err := n.broker.Publish(ctx, ch, frame); err != nil && ctx.Err() == nil && !errors.Is(err, broker.ErrClosed) {
		n.reports.report(err)
	}
	return len(frame)
}
