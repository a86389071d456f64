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
	// Protocol is the version of membership that it announces itself in.
	Protocol int
	// Namespaces it serves, sorted, and what it Speaks in them, such as
	// "native/1"; each once.
	Namespaces, Speaks []string
	// Suspect: it has owed an answer for a whole RequestTimeout, past the deadline of
	// a question, and was not heard of since. It is asked, but not waited for.
	Suspect bool
}

// Peers returns the other nodes that are known and not known to be dead, sorted by
// id. It asks nobody. Servers that are not Crossroom nodes do not announce themselves:
// Namespace.Peers counts them too, where the broker can count.
func (n *Node) Peers() []Peer {
	t := &n.peers
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]Peer, 0, len(t.byID))
	for _, p := range t.byID {
		peers = append(peers, p.describe())
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return peers
}

// peerTable is what a node knows of the others. Its Receiver methods only queue
// frames; the keeper goroutine acts on them.
type peerTable struct {
	node        *Node
	frames      chan item
	overflow    atomic.Int64 // frames that did not fit and are not reported yet
	lastMessage atomic.Int64 // when a frame last came, in Unix nanoseconds, if noted
	twins       []int64      // since when other nodes with this id live; the keeper's

	mu   sync.Mutex
	byID map[string]*peer
	owe  atomic.Int32 // how many in byID have missed something
	absent
}

type peer struct {
	id         string
	since      int64
	protocol   int
	revision   uint64
	known      bool // namespaces are those of revision
	namespaces map[nsKey]string
	seen       time.Time
	// missed is when the first question was asked whose deadline the peer missed
	// without being heard of since; zero for none.
	missed  time.Time
	suspect bool // that was a whole RequestTimeout ago
}

func (p *peer) describe() Peer {
	out := Peer{ID: p.id, Since: time.Unix(0, p.since), Protocol: p.protocol, Suspect: p.suspect}
	for key, speaks := range p.namespaces {
		out.Namespaces = append(out.Namespaces, key.name)
		out.Speaks = append(out.Speaks, speaks)
	}
	slices.Sort(out.Namespaces)
	slices.Sort(out.Speaks)
	out.Namespaces, out.Speaks = slices.Compact(out.Namespaces), slices.Compact(out.Speaks)
	return out
}

// More control frames than this cannot wait. What did not fit is announced again by
// the next heartbeats, except goodbyes, which PeerTimeout makes up for.
const controlQueue = 1024

// maxTwins is how many other nodes with this node's id are told apart.
const maxTwins = 16

func (t *peerTable) init(n *Node) {
	t.node, t.byID = n, make(map[string]*peer)
	t.absent.init()
	t.frames = make(chan item, controlQueue)
}

// Deliver implements broker.Receiver.
func (t *peerTable) Deliver(ch broker.Channel, payload []byte) {
	if t.node.notes() {
		t.lastMessage.Store(time.Now().UnixNano())
	}
	select {
	case t.frames <- item{ch: ch, payload: payload}:
	default:
		t.node.counters.membershipLost.Add(1)
		t.overflow.Add(1)
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
			if lost := n.peers.overflow.Swap(0); lost > 0 {
				n.reports.report(&MembershipError{Lost: int(lost)})
			}
			if now.Sub(heard) <= silence {
				n.peers.expire(now)
			}
			if n.opts.StallTimeout < 0 {
				continue
			}
			for _, ns := range n.live() {
				ns.lane.watch(awake)
				ns.own.watch(ns, awake)
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
		case f.since != n.since.UnixNano():
			t.twin(&f)
		default:
			n.lease.echo(f.number)
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

// twin reports another living node with this node's id, once for each life of it.
func (t *peerTable) twin(f *controlFrame) {
	i := slices.Index(t.twins, f.since)
	switch {
	case f.kind == controlBye: // perhaps of a life before this one
		if i >= 0 {
			t.twins = slices.Delete(t.twins, i, i+1)
		}
	case i < 0:
		if len(t.twins) >= maxTwins {
			t.twins = slices.Delete(t.twins, 0, 1)
		}
		t.twins = append(t.twins, f.since)
		t.node.reports.report(&DuplicateIDError{ID: t.node.id, Since: time.Unix(0, f.since)})
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
	p.seen, p.protocol = time.Now(), f.version
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
		t.back(membership{p.id, s.key})
	}
	for key := range had {
		if _, still := p.namespaces[key]; !still {
			left = append(left, key)
			t.leave(membership{p.id, key}, t.node.opts.PeerTimeout)
		}
	}
	return false, left
}

func (t *peerTable) clear(p *peer) {
	if !p.missed.IsZero() {
		p.missed, p.suspect = time.Time{}, false
		t.owe.Add(-1)
	}
}

// heard says that a message came from that node. It is on the path of every
// broadcast and costs a load as long as nobody has missed anything.
func (n *Node) heard(id string) {
	t := &n.peers
	if t.owe.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p != nil {
		t.clear(p)
	}
}

// missed says that a node let the deadline pass of a question that was asked at that
// moment. Deadlines may be short: only who has been silent for (nearly) a
// RequestTimeout is suspect.
func (t *peerTable) missed(id string, asked time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	if p == nil {
		return
	}
	if p.missed.IsZero() {
		p.missed = asked
		t.owe.Add(1)
	}
	p.suspect = p.suspect || time.Since(p.missed) >= t.node.opts.RequestTimeout*9/10
	// If it is only slow it says so, and is trusted again.
	select {
	case t.node.silents <- p.id:
	default: // enough to ask already; a heartbeat does as well
	}
}

// trusts reports whether a node has been heard of since it missed something.
func (t *peerTable) trusts(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	return p != nil && p.missed.IsZero()
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
			switch {
			case bye:
				t.leave(membership{id, key}, t.node.opts.PeerTimeout)
			case t.node.caps.CountsSubscribers:
				t.haunt(membership{id, key}, p.since)
			}
		}
	} else if bye && p == nil {
		t.rest(id, since, t.node.opts.PeerTimeout)
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
	t.absent.expire(now)
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

// trust is how long to wait for a peer.
type trust uint8

const (
	trusted trust = iota // until the deadline
	doubted              // it missed one: until half of the time is over
	suspect              // not at all
)

// in lists the peers that serve a namespace, sorted, and those of them that are not
// trusted. t.mu is held.
func (t *peerTable) in(key nsKey) (ids []string, bad map[string]trust) {
	for id, p := range t.byID {
		if _, ok := p.namespaces[key]; !ok {
			continue
		}
		ids = append(ids, id)
		if p.missed.IsZero() {
			continue
		}
		if bad == nil {
			bad = make(map[string]trust)
		}
		if bad[id] = doubted; p.suspect {
			bad[id] = suspect
		}
	}
	slices.Sort(ids)
	return ids, bad
}

// whereabouts is what is known of a namespace at one moment: in, and the nodes that
// said a short while ago that they leave, and the ghosts.
func (t *peerTable) whereabouts(key nsKey) (ids []string, bad map[string]trust, leaving, ghosts []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids, bad = t.in(key)
	leaving, ghosts = t.absent.in(key)
	return ids, bad, leaving, ghosts
}

// vanished says that the broker does not count some ghosts any more.
func (t *peerTable) vanished(key nsKey, ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		t.back(membership{id, key})
	}
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
