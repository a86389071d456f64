package membership

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sort"
	"time"
)

// This file decides which nodes this one watches, and when it takes a peer for dead.
// docs/decisions/0005 has the protocol with its reasons.
//
// All nodes stand in a ring, in the order of a hash of their ids. A node sends its heartbeats
// to the watchers after it. So each node expects those of the watchers before it. One that
// misses them probes the peer, and takes over the peers before one that does not answer. If
// the silence lasts it accuses the peer before all nodes. A node takes a peer for dead that
// was accused and has not been heard of for the time of a defence since.

const (
	// watchers is how many nodes watch each node.
	watchers = 3
	// smallFleet is up to how many peers everybody watches everybody: one heartbeat to all
	// costs no more than those to the watchers.
	smallFleet = 4
	// rollCalls is how many nodes send their heartbeat to all nodes instead, in turns. A list
	// of which a change was lost is found out of date by that, and a node that others missed.
	rollCalls = 2
	// defenceMargin is what a defence may come late.
	defenceMargin = time.Millisecond
)

// patience is how long watching takes, by Options.
type patience struct {
	heartbeat time.Duration
	overdue   time.Duration // a peer that is silent for so long is probed
	probe     time.Duration // an answer to a probe takes no longer
	accuse    time.Duration // a peer that is silent for so long is accused
	step      time.Duration // each further watcher leaves it to the ones before for so long
	defence   time.Duration // an accused node has so long to be heard of
}

// init makes that a peer is taken for dead after timeout, and no later than half a heartbeat
// after that.
func (p *patience) init(heartbeat, timeout time.Duration) {
	p.heartbeat, p.defence = heartbeat, heartbeat/2
	p.overdue = heartbeat + min(heartbeat/4, (timeout-heartbeat)/4)
	p.accuse = max(timeout-p.defence, p.overdue)
	p.probe = max(min(heartbeat/8, (timeout-heartbeat)/2), time.Millisecond)
	p.step = heartbeat / 32
}

// watch is what a node knows of the life of a peer. The zero value is a peer that others
// watch.
type watch struct {
	since   time.Time // since when it has been watched here; zero: it is not
	doubted time.Time // when the first probe was sent that it has not answered; zero: none
	probed  time.Time // when the last one was
	accused time.Time // since when it has been accused; zero: it is not
	told    time.Time // when it was last told of an accusation
}

// accusation says that a node was not heard of for some time.
type accusation struct {
	id     string
	since  int64 // of the node that is accused
	silent time.Duration
}

// order is a node's place in the ring.
func order(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	// FNV hardly spreads what differs in the last byte over the high bits.
	v := h.Sum64()
	v ^= v >> 32
	v *= 0x9e3779b97f4a7c15
	return v ^ v>>29
}

// ring lists the live peers in their order, and the index of the first that comes after this
// node. t.mu is held.
func (t *table) ring() (peers []*peer, next int) {
	peers = make([]*peer, 0, len(t.byID))
	for _, p := range t.byID {
		if p.state == live && p.since != 0 {
			peers = append(peers, p)
		}
	}
	slices.SortFunc(peers, func(a, b *peer) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.id, b.id))
	})
	me := order(t.id)
	next = sort.Search(len(peers), func(i int) bool {
		return peers[i].order > me || peers[i].order == me && peers[i].id > t.id
	})
	return peers, next
}

// turn is after how many heartbeats a node of a fleet with that many peers sends one to all.
func turn(peers int) int64 { return int64(peers+1+rollCalls-1) / rollCalls }

// successors returns the nodes that this one sends its heartbeat to. all: to all nodes.
func (t *table) successors(now time.Time) (ids []string, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ring, next := t.ring()
	if len(ring) <= smallFleet {
		return nil, true
	}
	beats := now.UnixNano() / int64(t.patience.heartbeat)
	if n := turn(len(ring)); beats%n == int64(next)%n {
		return nil, true
	}
	for i := range watchers {
		ids = append(ids, ring[(next+i)%len(ring)].id)
	}
	return ids, false
}

// survey is what follows from a look at all peers.
type survey struct {
	probe  []string
	accuse []accusation
	dead   []string
	next   time.Time // when to look again; zero: when something happens
}

// at has the table looked at again at that time.
func (s *survey) at(when time.Time) {
	if s.next.IsZero() || when.Before(s.next) {
		s.next = when
	}
}

// look watches the peers that this node watches, and finds out who is dead. It forgets who
// left or died so long ago. While this node is cut off it finds nothing.
func (t *table) look(now time.Time) (s survey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down.Load() {
		t.due = time.Time{} // until refresh
		return s
	}
	t.guard(now, &s)
	for _, p := range t.byID {
		t.age(p, now, &s)
	}
	if s.dead != nil {
		s.at(now) // others come before this node now
		t.moved()
	}
	t.due = s.next
	return s
}

// guard looks at the peers before this node in the ring, and at those that nobody else seems
// to watch. t.mu is held.
func (t *table) guard(now time.Time, s *survey) {
	ring, next := t.ring()
	want := watchers
	if len(ring) <= smallFleet {
		want = len(ring)
	}
	forgotten := t.patience.overdue + 2*time.Duration(turn(len(ring)))*t.patience.heartbeat
	silence := time.Time{} // since when the ones nearer than this have not been heard of
	doubted, nearer := 0, 0
	for i := 1; i <= len(ring); i++ {
		p := ring[(next-i+len(ring))%len(ring)]
		inWindow := i <= want+2*doubted
		// A peer that has not answered this node's greeting may have died unseen here, and
		// so may one whose turn to be heard by all has come and gone.
		if !inWindow && p.met && now.Sub(p.seen) < forgotten {
			p.watch = watch{accused: p.accused}
			s.at(p.seen.Add(forgotten))
			continue
		}
		if p.watch.since.IsZero() {
			p.watch.since = now
			if inWindow && !silence.IsZero() {
				// Who watched it may have died at the same time: so it has been silent
				// for as long as they were, if it does not answer.
				p.watch.since = silence
			}
		}
		since := later(p.seen, p.watch.since)
		if t.attend(p, since, min(nearer, watchers), now, s) {
			nearer++
			continue
		}
		if d := p.doubted; !d.IsZero() && now.Sub(d) >= t.patience.probe {
			doubted++
			if silence.IsZero() || since.Before(silence) {
				silence = since
			}
		}
	}
}

// attend looks at one peer, which has been silent since then. nearer is how many of its watchers
// are nearer to it. It returns true if there is nothing to worry about. t.mu is held.
func (t *table) attend(p *peer, since time.Time, nearer int, now time.Time, s *survey) bool {
	limits := &t.patience
	if overdue := since.Add(limits.overdue); now.Before(overdue) {
		p.doubted, p.probed = time.Time{}, time.Time{}
		s.at(overdue)
		return true
	}
	if p.doubted.IsZero() {
		p.doubted = now
	}
	answer := p.doubted.Add(limits.probe)
	if again := p.probed.Add(limits.heartbeat / 4); p.probed.IsZero() || !now.Before(again) {
		p.probed = now
		s.probe = append(s.probe, p.id)
	}
	s.at(p.probed.Add(limits.heartbeat / 4))
	if now.Before(answer) {
		s.at(answer)
	}
	if !p.accused.IsZero() {
		return false
	}
	if at := later(answer, since.Add(limits.accuse+time.Duration(nearer)*limits.step)); now.Before(at) {
		s.at(at)
	} else {
		p.accused = now
		t.owe.Add(1)
		s.accuse = append(s.accuse, accusation{p.id, p.since, now.Sub(since)})
	}
	return false
}

// accused takes in an accusation. It returns true if this node has heard of the accused lately:
// then it is to be told, if that was not done a moment ago.
func (t *table) accused(a *accusation, now time.Time) (witness bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[a.id]
	switch {
	case p == nil || p.since != a.since || p.state != live:
		return false
	case now.Sub(p.seen) < t.patience.overdue && !p.watch.since.IsZero():
		if now.Sub(p.told) < t.patience.defence/2 {
			return false
		}
		p.told = now
		return true
	case p.accused.IsZero():
		p.accused = now
		t.owe.Add(1)
		t.soon(now.Add(t.patience.defence + defenceMargin))
	}
	return false
}

// soon has the table looked at no later than that. t.mu is held.
func (t *table) soon(when time.Time) {
	if t.due.IsZero() || when.Before(t.due) {
		t.due = when
	}
}

// lookAt has the table looked at then; zero: when something happens.
func (t *table) lookAt(when time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = when
}

// nextLook returns when the table is to be looked at; zero if it is not.
func (t *table) nextLook() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.due
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
