package membership

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the memory for other nodes. What exceeds them is refused and reported to Events.Incomplete; known entries
// stay.
const (
	// maxPeers limits the nodes, including those that left or expired.
	maxPeers = 4096
	// maxNames limits the namespaces of one node.
	maxNames = 1 << 16
	// maxKept limits the memory for the names of all of them, in bytes.
	maxKept = 64 << 20
	// maxEarly limits the changes of one node's list that came before the list.
	maxEarly = 256
)

// table is a node's knowledge of its peers.
type table struct {
	id                                string
	since                             int64
	introTime, heartbeat, peerTimeout time.Duration
	requestTimeout                    time.Duration
	counts                            bool // the broker counts subscribers
	life                              context.Context

	mu       sync.Mutex
	byID     map[string]*peer
	owe      atomic.Int32 // number of missed deadlines and accusations in byID
	kept     int          // memory of all lists, in bytes
	refused  int          // announcements beyond the limits that are not reported yet
	full     time.Time    // when a node was last refused
	due      time.Time    // when to look at the peers again; zero: unknown
	patience patience
	changed  func(c Change, id string)
	lost     map[string]int64 // lost peers that may return, by id: the start of their lives
	introduction
	proofs
}

func (t *table) init(introTime time.Duration, o *Options, counts bool) {
	t.id, t.since, t.life, t.counts = o.ID, o.Since.UnixNano(), o.Life, counts
	t.introTime, t.heartbeat, t.peerTimeout, t.requestTimeout = introTime, o.Heartbeat, o.PeerTimeout, o.RequestsTimeout
	t.seed = maphash.MakeSeed()
	t.patience.init(o.Heartbeat, o.PeerTimeout)
	t.byID = make(map[string]*peer)
	if t.changed = o.Changed; t.changed == nil {
		t.changed = func(Change, string) {}
	}
	t.lost = make(map[string]int64)
}

// Peer is a live node, as it announced itself.
type Peer struct {
	ID string
	// Since is the start of the node, by its own clock.
	Since time.Time
	// Protocol is the version of the frames that it sends.
	Protocol int
	// Namespaces of the node, and the codecs that it Speaks in them: sorted, each once.
	Namespaces, Speaks []string
	// Suspect means that it sent no sign of life for SilenceLimit since a request whose deadline it missed.
	Suspect bool
	// Leaving means that it has announced that it is about to leave.
	Leaving bool
}

// peerState is the state of a peer's life.
type peerState uint8

const (
	live    peerState = iota
	left              // it sent a goodbye
	expired           // no sign of life for PeerTimeout; perhaps still counted
)

type peer struct {
	id          string
	order       uint64 // position in the ring
	since       int64  // zero: only others have mentioned it
	protocol    int
	state       peerState
	leftAt      time.Time // of state left
	unannounced bool      // this node knows it only from a beat to itself
	born        time.Time // when it became known
	proved      bool      // it is not a stranger
	theirs      uint64    // the token that it waits for; zero: none has come
	contested   bool      // a sign of life followed a goodbye, so the goodbye was not its own
	seen        time.Time
	met         bool // a sign of life since this node's last greeting
	watch
	namespaces map[Namespace]string
	closed     map[Namespace]time.Time // namespaces that it left a short while ago
	kept       int                     // memory of its list, in bytes

	// The list of namespaces.
	revision uint64    // of the list; zero: no list has arrived
	stale    time.Time // since when the list is known to be outdated; zero: it is not
	asked    time.Time // when the list was last requested
	early    []early   // later changes, which wait for the list
	partial  *partialList
	drains   bool // the list has the entry leaving, and that was reported

	// settled: it has named the next nodes after it in this introduction. covers is one of them of which it has named
	// the next one too.
	settled bool
	covers  string

	// knows is the revision of this node's list that the peer has confirmed, and slow means that a confirmation took
	// longer than introductions may.
	knows uint64
	slow  bool

	// missed is when the first request was sent whose deadline the peer missed without a sign of life since; zero for
	// none.
	missed time.Time
}

// known reports whether the peer's list has arrived.
func (p *peer) known() bool { return p.revision != 0 }

func (t *table) describe(p *peer) Peer {
	out := Peer{ID: p.id, Since: time.Unix(0, p.since), Protocol: p.protocol, Suspect: t.suspect(p, time.Now())}
	for key, speaks := range p.namespaces {
		if key == leaving {
			out.Leaving = true
			continue
		}
		out.Namespaces = append(out.Namespaces, key.Name)
		out.Speaks = append(out.Speaks, speaks)
	}
	slices.Sort(out.Namespaces)
	slices.Sort(out.Speaks)
	out.Namespaces, out.Speaks = slices.Compact(out.Namespaces), slices.Compact(out.Speaks)
	return out
}

// size returns the number of live peers.
func (t *table) size() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		if p.state == live && !p.stranger() {
			n++
		}
	}
	return n
}

// list returns the live peers that have announced themselves, sorted by id.
func (t *table) list() []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]Peer, 0, len(t.byID))
	for _, p := range t.byID {
		if p.state == live && p.proved {
			peers = append(peers, t.describe(p))
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return peers
}

// of returns the known ones among these nodes, live or not, sorted by id.
func (t *table) of(ids []string) []Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]Peer, 0, len(ids))
	for _, id := range ids {
		if p := t.byID[id]; p != nil {
			peers = append(peers, t.describe(p))
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return peers
}

// takeRefused returns how many announcements were refused since its last call.
func (t *table) takeRefused() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, t.refused = t.refused, 0
	return n
}

// hasRefused reports whether announcements were refused since takeRefused.
func (t *table) hasRefused() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused > 0
}

// news is the consequence of a frame.
type news struct {
	ask      bool        // the peer's list must be requested
	current  bool        // the frame made its list current, or greets with it
	revision uint64      // of its list
	left     []Namespace // namespaces that it has left
	missed   bool        // others may regard the peer as lost, or not know it
	echo     bool        // the peer waits for its token
	known    revisionOf  // what is known of its list, if ask
}

// note handles a frame of another node. direct: it came on this node's own channel, so earlier frames on the other may
// come later.
func (t *table) note(f *frame, direct bool) (out news) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	p := t.byID[f.id]
	proof := direct && f.echo == t.token(f.id)
	switch {
	case p == nil:
	case f.since < p.since && (direct || p.state == live):
		return out // a late frame of an earlier life
	case f.since > p.since && p.proved && p.state != expired && !proof:
		out.ask = t.mayAskStranger(now) // it may be a later life
		return out
	case f.since != p.since:
		// This life will not respond to requests to the earlier one.
		for key := range p.namespaces {
			out.left = append(out.left, key)
		}
		t.drop(p)
		p = nil
	case p.state == left && direct:
		return out // sent before its goodbye
	case p.state == left:
		p.state, p.contested, p.watch = live, true, watch{since: now} // a goodbye would be its last frame
		t.arrived(p)
	case p.state == expired:
		p.state, p.watch = live, watch{since: now}
		t.arrived(p)
		out.missed = direct
	}
	if p == nil {
		if p = t.add(f.id, f.since); p == nil {
			return out
		}
		p.unannounced = direct && f.kind == kindBeat
	}
	proved := proof && !p.proved
	if proved {
		t.prove(p)
		out.missed = p.unannounced
	}
	if direct && f.token != 0 && f.token != p.theirs {
		p.theirs, out.echo = f.token, true
	}
	t.hear(p, now)
	p.protocol = f.version
	had := p.known() && p.stale.IsZero()
	was := p.revision
	switch f.kind {
	case kindBeat, kindAsk:
		if f.revision > p.revision || f.revision < p.revision && !direct {
			p.outdated(now)
		}
	case kindHello:
		if !f.listed || p.known() && f.revision < p.revision {
			if f.revision != p.revision {
				p.outdated(now)
			}
			break
		}
		out.left = append(out.left, t.listed(p, f.revision, f.namespaces)...)
	case kindFull:
		if list, ok := t.collect(p, f); ok {
			out.left = append(out.left, t.listed(p, f.revision, list)...)
		}
	case kindChange:
		out.left = append(out.left, t.change(p, f)...)
	case kindSeen:
		if f.yourSince == t.since {
			p.knows, p.slow = max(p.knows, f.yourRevision), false
		}
	}
	if !p.known() && p.stale.IsZero() {
		p.outdated(now)
	}
	if _, drains := p.namespaces[leaving]; drains && p.proved && !p.drains {
		p.drains = true
		t.changed(Drains, p.id)
	}
	current := p.known() && p.stale.IsZero()
	out.ask = (!current || p.stranger() && f.kind != kindHello) && t.mayAsk(p, now)
	if current {
		out.known = revisionOf{p.since, p.revision}
	}
	out.current = current && p.proved && (proved || !had || was != p.revision || f.kind == kindHello)
	out.revision = p.revision
	t.moved()
	return out
}

// add returns a new peer; nil if there is no room. The caller holds t.mu.
func (t *table) add(id string, since int64) *peer {
	if len(t.byID) >= maxPeers {
		for _, p := range t.byID {
			if p.state != live {
				t.drop(p)
				break
			}
		}
	}
	if since != 0 {
		t.makeRoom(maxStrangers)
	}
	if len(t.byID) >= maxPeers {
		t.makeRoom(1)
	}
	if len(t.byID) >= maxPeers {
		t.refused++
		t.full = time.Now()
		return nil
	}
	now := time.Now()
	p := &peer{id: strings.Clone(id), order: order(id), since: since, seen: now, born: now, watch: watch{since: now}} // the frame's memory is not kept
	t.byID[p.id] = p
	if p.stranger() {
		t.strangers++
	}
	t.soon(now.Add(t.introTime))
	return p
}

// maxLost limits the lost peers that are remembered.
const maxLost = 1024

// vanished reports a proved peer that is live and about to be lost. The caller holds t.mu.
func (t *table) vanished(p *peer) {
	if p.state != live || !p.proved {
		return
	}
	t.changed(Lost, p.id)
	p.drains = false
	if len(t.lost) >= maxLost {
		for id := range t.lost {
			delete(t.lost, id)
			break
		}
	}
	t.lost[p.id] = p.since
}

// arrived reports a peer that has become live, if it has proved itself. The caller holds t.mu.
func (t *table) arrived(p *peer) {
	if !p.proved {
		return
	}
	since, was := t.lost[p.id]
	delete(t.lost, p.id)
	if was && since == p.since || p.contested {
		t.changed(Returned, p.id)
	} else {
		t.changed(Joined, p.id)
	}
}

// drop forgets a peer. The caller holds t.mu.
func (t *table) drop(p *peer) {
	t.vanished(p)
	t.clear(p)
	t.kept -= p.kept
	if p.stranger() {
		t.strangers--
		t.strange -= p.kept
	}
	delete(t.byID, p.id)
}

// outdated records that the peer's list has changed.
func (p *peer) outdated(now time.Time) {
	if p.stale.IsZero() {
		p.stale = now
	}
}

// mayAsk reports whether it is time to request a peer's list, and records the request. The caller holds t.mu.
func (t *table) mayAsk(p *peer, now time.Time) bool {
	if now.Sub(p.asked) < t.introTime/4 || p.stranger() && !t.mayAskStranger(now) {
		return false
	}
	p.asked = now
	return true
}

// clear forgets a peer's missed deadline, and an accusation. The caller holds t.mu.
func (t *table) clear(p *peer) {
	for _, at := range []*time.Time{&p.missed, &p.accused} {
		if !at.IsZero() {
			*at = time.Time{}
			t.owe.Add(-1)
		}
	}
}

// hear records a sign of life. The caller holds t.mu.
func (t *table) hear(p *peer, now time.Time) {
	p.seen, p.met = now, true
	t.clear(p)
}

// heard is Membership.Heard.
func (t *table) heard(id string) {
	if t.owe.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p != nil && p.state == live {
		t.hear(p, time.Now())
	}
}

// silenceLimit returns how long a peer that missed a deadline has to send a sign of life. It is less than
// RequestsTimeout by the time that a request needs before it is sent.
func (t *table) silenceLimit() time.Duration { return t.requestTimeout * 9 / 10 }

// suspect reports whether a peer that missed a deadline sent no sign of life in time. The caller holds t.mu.
func (t *table) suspect(p *peer, now time.Time) bool {
	return !p.missed.IsZero() && now.Sub(p.missed) >= t.silenceLimit()
}

// missed records that a node missed the deadline of a request sent at that moment. It returns the node's known list,
// if it is live.
func (t *table) missed(id string, asked time.Time) (known revisionOf, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	if p == nil || p.state != live {
		return known, false
	}
	if p.missed.IsZero() {
		p.missed = asked
		t.owe.Add(1)
	}
	return revisionOf{p.since, p.revision}, true
}

// trusts reports whether a node sent a sign of life since it missed a deadline.
func (t *table) trusts(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	return p != nil && p.state == live && p.missed.IsZero()
}

// has reports whether a peer is in the table.
func (t *table) has(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id] != nil
}
