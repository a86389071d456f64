package backplane

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Peer is another Crossroom node, as it announced itself.
type Peer struct {
	ID string
	// Since it lives, by its own clock.
	Since time.Time
	// Namespaces it serves, sorted, and what it Speaks in them, such as
	// "native/1"; each once.
	Namespaces, Speaks []string
	// Suspect: it missed the deadline of a question and was not heard of since.
	Suspect bool
}

// Peers returns the other nodes that are known and not known to be dead, sorted by
// id. Servers that are not Crossroom nodes do not announce themselves; Count
// includes them where the broker can count.
func (n *Node) Peers() []Peer {
	t := &n.peers
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]Peer, 0, len(t.byID))
	for _, p := range t.byID {
		out := Peer{ID: p.id, Since: time.Unix(0, p.since), Suspect: p.suspect}
		for key, speaks := range p.namespaces {
			out.Namespaces = append(out.Namespaces, key.name)
			out.Speaks = append(out.Speaks, speaks)
		}
		slices.Sort(out.Namespaces)
		slices.Sort(out.Speaks)
		out.Namespaces, out.Speaks = slices.Compact(out.Namespaces), slices.Compact(out.Speaks)
		peers = append(peers, out)
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return peers
}

// peerTable is what a node knows of the others. Its Receiver methods only queue
// frames; the keeper goroutine acts on them.
type peerTable struct {
	node   *Node
	frames chan item

	mu       sync.Mutex
	byID     map[string]*peer
	suspects atomic.Int32 // how many in byID
	// left are those that said that they leave a namespace, and when to forget
	// that. The broker may count them for a moment longer; nobody waits for them.
	left map[membership]time.Time
}

type membership struct {
	node string
	key  nsKey
}

type peer struct {
	id         string
	since      int64
	revision   uint64
	known      bool // namespaces are those of revision
	namespaces map[nsKey]string
	seen       time.Time
	suspect    bool
}

// More control frames than this cannot wait; heartbeats that do not fit come again.
const controlQueue = 1024

func (t *peerTable) init(n *Node) {
	t.node, t.byID, t.left = n, make(map[string]*peer), make(map[membership]time.Time)
	t.frames = make(chan item, controlQueue)
}

// Deliver implements broker.Receiver.
func (t *peerTable) Deliver(ch broker.Channel, payload []byte) {
	select {
	case t.frames <- item{ch: ch, payload: payload}:
	default:
	}
}

// Interrupted implements broker.Receiver.
func (t *peerTable) Interrupted(err error) {
	if err == nil {
		err = errUnknownOutage
	}
	t.link(item{err: err})
}

// Resumed implements broker.Receiver.
func (t *peerTable) Resumed() { t.link(item{}) }

func (t *peerTable) link(it item) {
	select {
	case t.frames <- it:
	case <-t.node.stop:
	}
}

// keep is the keeper goroutine: it takes in control frames, forgets dead peers and
// looks after members that do not return.
func (n *Node) keep() {
	period := n.opts.Heartbeat / 2
	if s := n.opts.StallTimeout; s > 0 {
		period = min(period, s/4)
	}
	period = max(period, time.Millisecond)
	tick := time.NewTicker(period)
	defer tick.Stop()
	// A clock that all but stands still while this process is stopped: that is held
	// against no member.
	looked := time.Now()
	awake := looked
	watched := make(map[*Namespace]*sight)
	var downSince time.Time
	// A node hears its own beats as well. If there is not even that, it is the link
	// that is dead, which the broker may notice only later, or this process was
	// stopped for a while, and not the others.
	heard, silence := time.Now(), max(n.opts.PeerTimeout-n.opts.Heartbeat, 2*n.opts.Heartbeat)
	for {
		select {
		case <-n.stop:
			return
		case it := <-n.peers.frames:
			switch {
			case it.ch.Kind() != 0:
				now := time.Now()
				if now.Sub(heard) > silence {
					n.peers.refresh(now)
				}
				heard = now
				n.peers.take(it)
			case it.err != nil:
				downSince = time.Now()
				n.setLink(it.err, 0)
			default:
				n.peers.refresh(time.Now())
				n.setLink(nil, time.Since(downSince))
			}
		case now := <-tick.C:
			awake = awake.Add(min(now.Sub(looked), 2*period))
			looked = now
			if now.Sub(heard) <= silence {
				n.peers.expire(now)
			}
			if n.opts.StallTimeout < 0 {
				continue
			}
			for _, ns := range n.live() {
				m := watched[ns]
				if m == nil {
					m = new(sight)
					watched[ns] = m
				}
				ns.lane.watch(&m.beat, &m.since, awake)
				ns.own.watch(n, ns.name, awake)
			}
			for ns := range watched {
				if ns.closing.Load() {
					delete(watched, ns)
				}
			}
		}
	}
}

// setLink notes an outage of the control channel, or its end; then this node says
// hello again.
func (n *Node) setLink(err error, lasted time.Duration) {
	n.mu.Lock()
	n.linkDown = err != nil
	n.mu.Unlock()
	if err == nil {
		n.soon(controlHello)
	} else {
		n.reports.report(&InterruptedError{Err: err})
	}
	switch o := n.observe.link; {
	case o == nil:
	case err != nil:
		n.observed("Interrupted", func() { o.Interrupted("", err) })
	default:
		n.observed("Resumed", func() { o.Resumed("", lasted) })
	}
}

// take acts on one control frame.
func (t *peerTable) take(it item) {
	n := t.node
	var f controlFrame
	if err := f.decode(it.payload); err != nil {
		if reasonOf(err) == DropForeign {
			n.counters.foreign.Add(1) // a kind of a later version
			return
		}
		n.counters.undecodable.Add(1)
		n.reports.report(&DecodeError{Channel: it.ch, Err: err})
		return
	}
	if f.id == n.id {
		switch {
		case f.kind == controlAsk:
			n.soon(controlFull)
		case f.kind == controlBye: // of an earlier life, perhaps
		case f.since != n.since.UnixNano():
			n.reports.report(&DuplicateIDError{ID: n.id})
		}
		return
	}
	switch f.kind {
	case controlAsk:
		return
	case controlBye:
		t.lose(f.id, f.since, true)
		return
	case controlHello:
		n.soon(controlFull)
	}
	ask, left := t.note(&f)
	if ask {
		n.askFull(f.id)
	}
	for _, ns := range n.live() {
		if slices.Contains(left, nsKey{ns.wire, ns.name}) {
			ns.calls.lost(f.id)
		}
	}
}

// note writes down a sign of life. It reports whether the peer's list of namespaces
// is not known, and which ones it has left.
func (t *peerTable) note(f *controlFrame) (ask bool, left []nsKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[f.id]
	if p != nil && f.since < p.since {
		return false, nil // a late frame of an earlier life
	}
	if p == nil || f.since > p.since {
		if p != nil {
			// What the earlier life was asked, this one will not answer.
			for key := range p.namespaces {
				left = append(left, key)
			}
			t.clear(p)
		}
		// Copies: what is noted outlives the frame.
		p = &peer{id: strings.Clone(f.id), since: f.since}
		t.byID[p.id] = p
	}
	p.seen = time.Now()
	t.clear(p)
	if f.kind == controlBeat {
		return !p.known || p.revision != f.revision, left
	}
	if p.known && f.revision < p.revision {
		return false, left
	}
	p.known, p.revision = true, f.revision
	had := p.namespaces
	p.namespaces = make(map[nsKey]string, len(f.namespaces))
	for _, s := range f.namespaces {
		s.key.name = strings.Clone(s.key.name)
		p.namespaces[s.key] = strings.Clone(s.speaks)
		delete(t.left, membership{p.id, s.key})
	}
	for key := range had {
		if _, still := p.namespaces[key]; !still {
			left = append(left, key)
			t.leave(p, key)
		}
	}
	return false, left
}

// leave remembers for a while that a peer said that it leaves a namespace.
func (t *peerTable) leave(p *peer, key nsKey) {
	t.left[membership{p.id, key}] = time.Now().Add(t.node.opts.PeerTimeout)
}

func (t *peerTable) clear(p *peer) {
	if p.suspect {
		p.suspect = false
		t.suspects.Add(-1)
	}
}

// heard says that a message came from that node. It is on the path of every
// broadcast and costs a load as long as nobody is suspect.
func (n *Node) heard(id string) {
	t := &n.peers
	if t.suspects.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p != nil {
		t.clear(p)
	}
}

// suspect says that a node missed the deadline of a question.
func (t *peerTable) suspect(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p != nil && !p.suspect {
		p.suspect = true
		t.suspects.Add(1)
	}
}

// lose forgets a peer that said goodbye or died, and lets open questions stop
// waiting for it.
func (t *peerTable) lose(id string, since int64, bye bool) {
	t.mu.Lock()
	p := t.byID[id]
	ok := p != nil && p.since <= since
	if ok {
		t.clear(p)
		delete(t.byID, id)
		for key := range p.namespaces {
			if bye {
				t.leave(p, key)
			}
		}
	}
	t.mu.Unlock()
	if !ok {
		return
	}
	for _, ns := range t.node.live() {
		ns.calls.lost(id)
	}
}

// expire forgets those not heard of for PeerTimeout, unless this node's link is down.
func (t *peerTable) expire(now time.Time) {
	t.node.mu.Lock()
	down := t.node.linkDown
	t.node.mu.Unlock()
	if down {
		return
	}
	var dead []*peer
	t.mu.Lock()
	for _, p := range t.byID {
		if now.Sub(p.seen) > t.node.opts.PeerTimeout {
			dead = append(dead, p)
		}
	}
	for m, until := range t.left {
		if now.After(until) {
			delete(t.left, m)
		}
	}
	t.mu.Unlock()
	for _, p := range dead {
		t.lose(p.id, p.since, false)
	}
}

// refresh gives everybody a new PeerTimeout after this node's own outage, in which
// nobody's silence meant anything.
func (t *peerTable) refresh(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		p.seen = now
		t.clear(p)
	}
}

// in lists the peers that serve a namespace.
func (t *peerTable) in(key nsKey) (ids []string, suspect map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, p := range t.byID {
		if _, ok := p.namespaces[key]; !ok {
			continue
		}
		ids = append(ids, id)
		if p.suspect {
			if suspect == nil {
				suspect = make(map[string]bool)
			}
			suspect[id] = true
		}
	}
	slices.Sort(ids)
	return ids, suspect
}

// leavers lists the nodes that said that they leave a namespace, a short while ago.
func (t *peerTable) leavers(key nsKey) (ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for m := range t.left {
		if m.key == key {
			ids = append(ids, m.node)
		}
	}
	return ids
}

// serves reports whether a node is known to serve a namespace.
func (t *peerTable) serves(id string, key nsKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	if p == nil {
		return false
	}
	_, ok := p.namespaces[key]
	return ok
}
