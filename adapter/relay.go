package adapter

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// relays makes marks and remembers those that were seen. What it remembers is
// bounded: a window of numbers for each origin, and a number of origins.
type relays struct {
	seq atomic.Uint64

	mu       sync.Mutex
	now, old map[string]*origin // heard lately, and before
}

// origin is a server that marks what it sends.
type origin struct {
	seen runs // guarded by relays.mu
	// turn holds a token while a message of the origin is being delivered, so that
	// they are delivered one at a time, whatever links they come from: the next one may
	// be here on one link while this one is still being delivered from another.
	turn chan struct{}
}

// end ends the delivery of a message. A nil origin has no turns.
func (o *origin) end() {
	if o != nil {
		<-o.turn
	}
}

// With so many origins in now it becomes old, and what was old is forgotten.
const relayOrigins = 1024

// mark returns a new mark of this server's.
func (r *relays) mark(uid string) string {
	return socketio.Mark(uid, r.seq.Add(1))
}

// fresh reports whether a mark (without its link) is seen for the first time. An
// unreadable one never is: nothing of ours looks like that.
func (r *relays) fresh(mark string) bool {
	o, seq := r.origin(mark)
	return o != nil && r.see(o, seq)
}

// begin waits for the turn of a mark's origin and keeps it if the mark is fresh.
// Otherwise it returns nil.
func (r *relays) begin(mark string) *origin {
	o, seq := r.origin(mark)
	if o == nil {
		return nil
	}
	o.turn <- struct{}{}
	if !r.see(o, seq) {
		<-o.turn
		return nil
	}
	return o
}

func (r *relays) see(o *origin, seq uint64) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return o.seen.fresh(seq)
}

// origin returns the origin of a mark and its number; nil if it is unreadable.
func (r *relays) origin(mark string) (*origin, uint64) {
	name, seq, ok := socketio.SplitMark(mark)
	if !ok || seq == 0 {
		return nil, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.now[name]
	if o == nil {
		if o = r.old[name]; o == nil {
			o = &origin{turn: make(chan struct{}, 1)}
		}
		if r.now == nil || len(r.now) >= relayOrigins {
			r.now, r.old = make(map[string]*origin), r.now
		}
		r.now[strings.Clone(name)] = o
	}
	return o, seq
}

// eachLeg does something on all links at the same time.
func (ns *Namespace) eachLeg(f func(i int, l leg) error) error {
	if len(ns.legs) == 1 {
		return f(0, ns.legs[0])
	}
	index := make([]int, len(ns.legs))
	for i := range index {
		index[i] = i
	}
	return firstOf(each(index, func(i int) error {
		return ns.onLink(ns.legs[i].link, f(i, ns.legs[i]))
	}))
}

// hear looks at a broadcast that came in on one of several links, before it is
// delivered; false means that it is not to be. It waits while an earlier one of the same
// origin is being delivered from another link. The origin, if it is not nil, is to be told
// of the delivery's end.
func (ns *Namespace) hear(l *link, b *wire.Broadcast) (*origin, bool) {
	if b.Relay == "" {
		if ns.bridge != nil && ns.live.Load() {
			ns.bridge.offer(l, b)
		}
		return nil, true
	}
	mark, source, note, bridged := socketio.CutMark(b.Relay)
	if bridged {
		for _, own := range ns.server.links {
			if own.key != source {
				continue
			}
			if ns.bridge != nil && ns.live.Load() {
				ns.bridge.copied(own, l, b.Origin, note)
			}
			return nil, false // this server has heard the original
		}
	}
	o := ns.relays.begin(mark)
	return o, o != nil
}

// elsewhere reports whether a question of that node, which came in on l, comes in on
// another link too and is to be answered there: both nodes choose, of the links
// that they share and on which the operation travels, the one with the lowest key.
func (ns *Namespace) elsewhere(l *link, node string, op wire.Op) bool {
	for _, other := range ns.server.links {
		if op == wire.OpEvent && other.dialect == V5 {
			continue
		}
		if other.key < l.key && other.has(node, ns.name) {
			return true
		}
	}
	return false
}

// has reports whether a Go node serves a namespace on the link.
func (l *link) has(node, namespace string) bool {
	for _, p := range l.node.KnownPeers() {
		if p.ID == node {
			return holds(p, namespace)
		}
	}
	return false
}

func holds(p backplane.Peer, namespace string) bool {
	for _, name := range p.Namespaces {
		if name == namespace {
			return true
		}
	}
	return false
}
