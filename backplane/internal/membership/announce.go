package membership

import (
	"context"
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
	hurry     func() bool // changes do not wait for others
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
	// alive: a beat to all. accused are nodes to be accused before all, told those that are
	// to defend themselves.
	alive   bool
	accused []accusation
	told    map[string]accusation
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

func (a *announcer) init(o *Options, limit int, peers *table, hurry func() bool) {
	a.broker, a.id, a.since, a.limit, a.life = o.Broker, o.ID, o.Since.UnixNano(), limit, o.Life
	a.heartbeat, a.timeout, a.unsent, a.peers = o.Heartbeat, o.PeerTimeout, o.Events.Unsent, peers
	a.hurry = hurry
	a.lease.init(o.Heartbeat, o.PeerTimeout)
	a.wake, a.silent = make(chan struct{}, 1), make(chan struct{})
	a.serves = make(map[Namespace]string)
	a.due.clear()
}

func (d *due) clear() {
	d.hello, d.changes, d.alive, d.accused = false, nil, false, nil
	d.told = make(map[string]accusation)
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

// defend has all nodes hear of this one.
func (a *announcer) defend() { a.note(func(d *due) { d.alive = true }) }

// tell has a node defend itself.
func (a *announcer) tell(accused accusation) {
	accused.id = strings.Clone(accused.id)
	a.note(func(d *due) {
		if len(d.told) < maxAccused {
			d.told[accused.id] = accused
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
