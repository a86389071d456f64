package backplane

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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
	// Suspect: it has owed an answer for a whole RequestsTimeout, past the deadline of
	// a question, and was not heard of since. It is asked, but not waited for.
	Suspect bool
}

// Peers returns the other nodes that are known and not known to be dead, sorted by
// id. It asks nobody. Servers that are not Crossroom nodes do not announce themselves:
// Namespace.Peers counts them too, where the broker can count.
func (n *Node) KnownPeers() []Peer {
	t := &n.peers
	t.mu.Lock()
	defer t.mu.Unlock()
	peers := make([]Peer, 0, len(t.byID))
	for _, p := range t.byID {
		if p.state == live && p.since != 0 {
			peers = append(peers, p.describe())
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return peers
}

// Limits of what other nodes can make this one remember. What exceeds them is refused
// and reported as *MembershipError; what is known already keeps its place.
const (
	// maxPeers limits the nodes, those among them that left or expired.
	maxPeers = 4096
	// maxNames limits the namespaces of one node.
	maxNames = 1 << 16
	// maxKept limits the memory for the names of all of them, in bytes.
	maxKept = 64 << 20
	// maxEarly limits the changes of one node's list that came before the list.
	maxEarly = 256
)

// peerTable is what a node knows of the others. Its Receiver methods only queue
// frames; the keeper goroutine acts on them.
type peerTable struct {
	node        *Node
	frames      chan item
	overflow    atomic.Int64  // frames that did not fit and are not reported yet
	lastMessage atomic.Int64  // when a frame last came, in Unix nanoseconds, if noted
	retry       chan struct{} // introductions are to be insisted on
	greeted     time.Time     // when a loss last made this node greet again; the keeper's
	twins       []int64       // since when other nodes with this id live; the keeper's

	mu        sync.Mutex
	byID      map[string]*peer
	owe       atomic.Int32 // how many in byID have missed something
	kept      int          // memory of all lists, in bytes
	strangers atomic.Int32 // nodes whose introductions were waited for in vain
	refused   int          // announcements beyond the limits that are not reported yet
	full      time.Time    // when a node was refused last
	introduction
}

// peerState is what is known of a peer's life.
type peerState uint8

const (
	live    peerState = iota
	left              // it said goodbye
	expired           // it was not heard of for PeerTimeout, and is perhaps counted still
)

type peer struct {
	id         string
	since      int64 // zero: only others have mentioned it
	protocol   int
	state      peerState
	leftAt     time.Time // of state left
	contested  bool      // it was heard of after a goodbye, which was not its own then
	seen       time.Time
	namespaces map[nsKey]string
	closed     map[nsKey]time.Time // namespaces that it left a short while ago
	kept       int                 // memory of its list, in bytes

	// The list of namespaces.
	revision uint64    // of namespaces; zero: no list has come
	stale    time.Time // since when the list is known to be out of date; zero: it is not
	asked    time.Time // when the peer was last asked for it
	early    []early   // later changes, which wait for the list
	partial  *partialList

	// settled: it has named the next nodes after it in this introduction. covers is one of
	// them of which it has named the next one too.
	settled bool
	covers  string

	// knows is which revision of this node's list the peer has confirmed, and slow that
	// one confirmation took longer than introductions may.
	knows uint64
	slow  bool

	// missed is when the first question was asked whose deadline the peer missed
	// without being heard of since; zero for none.
	missed  time.Time
	suspect bool // that was a whole RequestsTimeout ago
}

// known reports whether the peer's list has come.
func (p *peer) known() bool { return p.revision != 0 }

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

// size is how many live peers are known.
func (t *peerTable) size() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		if p.state == live {
			n++
		}
	}
	return n
}

// maxTwins is how many other nodes with this node's id are told apart.
const maxTwins = 16

func (t *peerTable) init(n *Node) {
	t.node, t.byID = n, make(map[string]*peer)
	t.frames = make(chan item, controlQueue)
	t.retry = make(chan struct{}, 1)
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
		t.node.reports.report(&OpError{Op: "announce", Name: t.node.id, Err: fmt.Errorf("%w, and runs since %s", ErrDuplicateID, time.Unix(0, f.since).Format(time.RFC3339Nano))})
	}
}

// news is what follows from a frame.
type news struct {
	ask      bool    // the peer is to be asked for its list
	current  bool    // the frame made its list current, or greets with it
	revision uint64  // of its list
	left     []nsKey // namespaces that it has left
}

// note takes in a frame of another node. direct: it came on this node's own channel,
// so earlier frames on the other may come later.
func (t *peerTable) note(f *controlFrame, direct bool) (out news) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	p := t.byID[f.id]
	switch {
	case p == nil:
	case f.since < p.since && (direct || p.state == live):
		return out // a late frame of an earlier life
	case f.since != p.since:
		// What the earlier life was asked, this one will not answer.
		for key := range p.namespaces {
			out.left = append(out.left, key)
		}
		t.drop(p)
		p = nil
	case p.state == left && direct:
		return out // sent before its goodbye
	case p.state == left:
		p.state, p.contested = live, true // a goodbye would be its last frame
	case p.state == expired:
		p.state = live
	}
	if p == nil {
		if p = t.add(f.id, f.since); p == nil {
			return out
		}
	}
	p.seen, p.protocol = now, f.version
	t.clear(p)
	had := p.known() && p.stale.IsZero()
	was := p.revision
	switch f.kind {
	case controlBeat, controlAsk:
		if f.revision > p.revision || f.revision < p.revision && !direct {
			p.outdated(now)
		}
	case controlHello:
		if !f.listed || p.known() && f.revision < p.revision {
			if f.revision != p.revision {
				p.outdated(now)
			}
			break
		}
		out.left = append(out.left, t.listed(p, f.revision, f.namespaces)...)
	case controlFull:
		if list, ok := t.collect(p, f); ok {
			out.left = append(out.left, t.listed(p, f.revision, list)...)
		}
	case controlChange:
		out.left = append(out.left, t.change(p, f)...)
	case controlSeen:
		if f.yourSince == t.node.since.UnixNano() {
			p.knows, p.slow = max(p.knows, f.yourRevision), false
		}
	}
	if !p.known() && p.stale.IsZero() {
		p.outdated(now)
	}
	out.ask = !p.stale.IsZero() && t.mayAsk(p, now)
	out.current = p.known() && p.stale.IsZero() && (!had || was != p.revision || f.kind == controlHello)
	out.revision = p.revision
	t.moved()
	return out
}

// add makes room for a peer, nil if there is none. t.mu is held.
func (t *peerTable) add(id string, since int64) *peer {
	if len(t.byID) >= maxPeers {
		for _, p := range t.byID {
			if p.state != live {
				t.drop(p)
				break
			}
		}
	}
	if len(t.byID) >= maxPeers {
		t.refused++
		t.full = time.Now()
		return nil
	}
	p := &peer{id: strings.Clone(id), since: since, seen: time.Now()} // the frame's memory is not kept
	t.byID[p.id] = p
	return p
}

// drop forgets a peer. t.mu is held.
func (t *peerTable) drop(p *peer) {
	t.clear(p)
	t.kept -= p.kept
	delete(t.byID, p.id)
}

// outdated notes that the peer's list has changed.
func (p *peer) outdated(now time.Time) {
	if p.stale.IsZero() {
		p.stale = now
	}
}

// mayAsk reports whether it is time to ask a peer for its list, and notes that it is
// asked. t.mu is held.
func (t *peerTable) mayAsk(p *peer, now time.Time) bool {
	if now.Sub(p.asked) < t.node.introTime()/4 {
		return false
	}
	p.asked = now
	return true
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
// RequestsTimeout is suspect.
func (t *peerTable) missed(id string, asked time.Time) {
	t.mu.Lock()
	p := t.byID[id]
	if p == nil || p.state != live {
		t.mu.Unlock()
		return
	}
	if p.missed.IsZero() {
		p.missed = asked
		t.owe.Add(1)
	}
	known := revisionOf{p.since, p.revision}
	p.suspect = p.suspect || time.Since(p.missed) >= t.node.opts.RequestsTimeout*9/10
	t.mu.Unlock()
	// If it is only slow it says so, and is trusted again.
	t.node.note(func(a *announcements) { a.asks[id] = known })
}

// trusts reports whether a node has been heard of since it missed something.
func (t *peerTable) trusts(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	return p != nil && p.state == live && p.missed.IsZero()
}

// trust is how long to wait for a peer.
type trust uint8

const (
	trusted trust = iota // until the deadline
	doubted              // it missed one: until half of the time is over
	suspect              // not at all
)

// whereabouts is what is known of a namespace at one moment.
type whereabouts struct {
	alive     []string         // live peers that serve it
	bad       map[string]trust // of them: those that are not trusted
	unknown   []string         // live peers that may serve it: their lists are out of date
	leaving   []string         // peers that left it, or the fleet, a short while ago
	overdue   []string         // of them: those that have had the time to do it
	ghosts    []string         // expired peers that served it
	elsewhere []string         // other live peers
	known     []string         // all peers, live or not
	greeting  bool             // there may be others: this node is cut off, not all have answered its greeting, or some were refused
}

// where looks up who serves a namespace. All lists are sorted.
func (t *peerTable) where(key nsKey) (w whereabouts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	w.greeting = t.down || !t.pending(now).IsZero() && t.until.After(now) || now.Sub(t.full) < t.node.opts.PeerTimeout
	for id, p := range t.byID {
		w.known = append(w.known, id)
		_, serves := p.namespaces[key]
		gone, closed := p.closed[key]
		if p.state == left {
			gone, closed = p.leftAt, serves
		}
		switch {
		case closed && p.state != expired:
			w.leaving = append(w.leaving, id)
			if now.Sub(gone) >= t.node.introTime() {
				w.overdue = append(w.overdue, id)
			}
		case serves && p.state == expired:
			w.ghosts = append(w.ghosts, id)
		case serves && p.state == live:
			w.alive = append(w.alive, id)
			if p.missed.IsZero() {
				break
			}
			if w.bad == nil {
				w.bad = make(map[string]trust)
			}
			if w.bad[id] = doubted; p.suspect {
				w.bad[id] = suspect
			}
		case p.state == live:
			w.elsewhere = append(w.elsewhere, id)
			if !p.known() || !p.stale.IsZero() {
				w.unknown = append(w.unknown, id)
			}
		}
	}
	for _, list := range [][]string{w.alive, w.unknown, w.leaving, w.overdue, w.ghosts, w.elsewhere, w.known} {
		slices.Sort(list)
	}
	return w
}

// departed reports whether a node is known not to serve a namespace any more.
func (t *peerTable) departed(id string, key nsKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	if p == nil {
		return false
	}
	_, serves := p.namespaces[key]
	_, closed := p.closed[key]
	return closed || serves && p.state != live
}
