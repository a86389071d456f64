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
	// maxPart is the size of a control frame in bytes, unless the broker's MaxPayload is smaller. Longer lists are
	// sent in parts.
	maxPart = 32 << 10
	// maxAsks limits the lists that a node requests in a Heartbeat.
	maxAsks = 256
	// A node sends its list at once to the nodes that request it, up to listBurst of them, and then one every
	// listPause. A list of more than listUnit bytes counts as several. When more than half of the known nodes wait for
	// the list, it is sent to all nodes.
	listBurst = 64
	listPause = 10 * time.Millisecond
	listUnit  = 160 << 10
)

// announcer publishes on the control channels: this node's signs of life, its namespaces, and the keeper's frames for
// other nodes.
type announcer struct {
	broker    broker.Broker
	id        string
	since     int64
	limit     int // largest payload; 0: no limit
	life      context.Context
	heartbeat time.Duration
	timeout   time.Duration // PeerTimeout
	unsent    func(error)
	hurry     func() bool // changes are published at once
	peers     *table

	lease  lease
	wake   chan struct{}
	silent chan struct{} // closed when beat has ended

	mu       sync.Mutex
	revision uint64 // of the list of namespaces
	serves   map[Namespace]string
	due      due
}

// due is what must be published.
type due struct {
	// hello: greet all nodes. The greeting replaces changes.
	hello bool
	// changes of the list of namespaces that no frame has announced yet, oldest first. Each is one revision.
	changes []change
	// asks are the nodes whose lists to request, unless they have that revision; lists those that requested this
	// node's; seen those to notify of the revision of theirs that is known here.
	asks, seen map[string]revisionOf
	lists      map[string]struct{}
	// alive: a sign of life to all nodes. accused are nodes to accuse before all, told those that must defend
	// themselves.
	alive   bool
	accused []accusation
	told    map[string]accusation
}

// change is one change of a list of namespaces.
type change struct {
	served
	removed bool
}

// revisionOf is a revision of a list of namespaces, in one life of a node. A life begins with the start of the node.
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

// note calls f to add to what is due, and wakes the beat goroutine.
func (a *announcer) note(f func(d *due)) {
	a.mu.Lock()
	f(&a.due)
	a.mu.Unlock()
	signal(a.wake)
}

// greet introduces this node to all others, and makes them introduce themselves.
func (a *announcer) greet() { a.note(func(d *due) { d.hello = true }) }

// ask requests the lists of some nodes.
func (a *announcer) ask(ids ...string) {
	if len(ids) > 0 {
		a.note(func(d *due) {
			for _, id := range ids {
				d.asks[id] = revisionOf{}
			}
		})
	}
}

// everybody stands for all nodes in due.lists.
const everybody = ""

// reply sends this node's list to a node that requested it.
func (a *announcer) reply(id string) {
	a.note(func(d *due) {
		if len(d.lists) < maxPeers {
			d.lists[id] = struct{}{}
		}
	})
}

// defend sends a sign of life to all nodes.
func (a *announcer) defend() { a.note(func(d *due) { d.alive = true }) }

// forged reports whether this node has not had that revision yet.
func (a *announcer) forged(revision uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return revision > a.revision
}

// tell makes a node defend itself.
func (a *announcer) tell(accused accusation) {
	accused.id = strings.Clone(accused.id)
	a.note(func(d *due) {
		if len(d.told) < maxAccused {
			d.told[accused.id] = accused
		}
	})
}

// answer responds to a node that requests this node's list: with a sign of life if it has the list.
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

// confirm notifies a node of the revision of its list that is known here.
func (a *announcer) confirm(id string, known revisionOf) {
	a.note(func(d *due) {
		had, twice := d.seen[id]
		if twice && had.since == known.since {
			known.revision = max(known.revision, had.revision)
		}
		if twice || len(d.seen) < maxPeers {
			d.seen[id] = known
		}
	})
}

// changed records a change of the list of namespaces, and returns its revision. The first change is announced by a
// greeting.
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
	a.due.hello = a.due.hello || a.revision == 1
	return a.revision
}

// leave adds the entry of a node that is about to leave to the list. It returns false if the list has it.
func (a *announcer) leave() bool {
	a.mu.Lock()
	_, listed := a.serves[leaving]
	a.mu.Unlock()
	if !listed {
		a.changed(change{served: served{Namespace: leaving}})
	}
	return !listed
}

// list returns the namespaces of the node, sorted, so that every list of one revision has the same parts. The caller
// holds a.mu.
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

// frame returns a frame of this node. The caller holds a.mu.
func (a *announcer) frame(kind frameKind) frame {
	return frame{kind: kind, id: a.id, since: a.since, revision: a.revision}
}

// room returns how many bytes of namespaces fit into a frame.
func (a *announcer) room() int {
	size := maxPart
	if a.limit > 0 {
		size = min(size, a.limit)
	}
	size -= len(a.id) + 80
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

// lateGoodbye is how long the goodbye of a node whose context has ended may wait for the broker's queue.
const lateGoodbye = 10 * time.Millisecond

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
	sending := ctx
	if ctx.Err() != nil { // without a goodbye the others would notice this node like a crashed one
		var stop context.CancelFunc
		sending, stop = context.WithTimeout(context.WithoutCancel(ctx), lateGoodbye)
		defer stop()
	}
	if err := a.broker.Publish(sending, broker.Control(), f.append(nil)); err == nil && !down {
		_ = a.broker.Flush(ctx) // the broker reports its losses itself
	}
}

// signal wakes the goroutine that waits at ch, a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
