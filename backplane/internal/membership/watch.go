package membership

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sort"
	"time"
)

// This file decides which nodes this one watches, and when it reports a peer as lost. docs/decisions/0005 has the
// protocol with its reasons.
//
// All nodes stand in a ring, in the order of a hash of their ids. A node sends its heartbeats to the watchers after
// it. So each node expects those of the watchers before it. A node that misses them probes the peer, and takes over
// the peers before one that does not respond. If no sign of life comes, it accuses the peer before all nodes. A node
// reports a peer as lost that was accused and has sent no sign of life for the time of a defence since.

const (
	// watchers is the number of nodes that watch each node.
	watchers = 3
	// smallFleet is the number of peers up to which all nodes watch each other: one heartbeat to all costs no more
	// than those to the watchers.
	smallFleet = 4
	// rollCalls is the number of nodes that send their heartbeat to all nodes instead, in turns. It shows a list that
	// missed a change, and a node that others missed.
	rollCalls = 2
	// defenceMargin is how late a defence may come.
	defenceMargin = time.Millisecond
)

// patience has the times of watching, computed from Options.
type patience struct {
	heartbeat time.Duration
	overdue   time.Duration // a peer without a sign of life for so long is probed
	probe     time.Duration // limit of the response to a probe
	accuse    time.Duration // a peer without a sign of life for so long is accused
	step      time.Duration // each further watcher leaves it to the ones before for so long
	defence   time.Duration // an accused node has so long for a sign of life
}

// init chooses the times so that a peer is reported as lost after timeout, and no later than half a heartbeat after
// that.
func (p *patience) init(heartbeat, timeout time.Duration) {
	p.heartbeat, p.defence = heartbeat, heartbeat/2
	p.overdue = heartbeat + min(heartbeat/4, (timeout-heartbeat)/4)
	p.accuse = max(timeout-p.defence, p.overdue)
	p.probe = max(min(heartbeat/8, (timeout-heartbeat)/2), time.Millisecond)
	p.step = heartbeat / 32
}

// watch is a node's state of watching a peer. The zero value is a peer that others watch.
type watch struct {
	since   time.Time // since when it has been watched here; zero: it is not
	doubted time.Time // when the first unanswered probe was sent; zero: none
	probed  time.Time // when the last probe was sent
	accused time.Time // since when it has been accused; zero: it is not
	told    time.Time // when it was last notified of an accusation
}

// accusation reports that a node sent no sign of life for some time.
type accusation struct {
	id     string
	since  int64 // of the accused node
	silent time.Duration
}

// order returns a node's position in the ring.
func order(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	// FNV hardly spreads differences in the last byte over the high bits.
	v := h.Sum64()
	v ^= v >> 32
	v *= 0x9e3779b97f4a7c15
	return v ^ v>>29
}

// ring lists the live peers in their order, and the index of the first after this node. The caller holds t.mu.
func (t *table) ring() (peers []*peer, next int) {
	peers = make([]*peer, 0, len(t.byID))
	for _, p := range t.byID {
		if p.state == live && p.proved {
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

// turn returns after how many heartbeats a node, in a fleet with that many peers, sends one to all.
func turn(peers int) int64 { return int64(peers+1+rollCalls-1) / rollCalls }

// successors returns the recipients of this node's heartbeat. all: all nodes.
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

// survey is the result of a look at all peers.
type survey struct {
	probe  []string
	accuse []accusation
	dead   []string
	next   time.Time // when to look again; zero: at the next event
}

// at makes the keeper look again at that time, or earlier.
func (s *survey) at(when time.Time) {
	if s.next.IsZero() || when.Before(s.next) {
		s.next = when
	}
}

// look checks the peers that this node watches, and finds the lost ones. It forgets peers that left or expired long
// enough ago. While this node is cut off it finds nothing.
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
		s.at(now) // other nodes are directly before this node now
		t.moved()
	}
	t.due = s.next
	return s
}

// guard checks the peers before this node in the ring, and those that no other node seems to watch. The caller holds
// t.mu.
func (t *table) guard(now time.Time, s *survey) {
	ring, next := t.ring()
	want := watchers
	if len(ring) <= smallFleet {
		want = len(ring)
	}
	forgotten := t.patience.overdue + 2*time.Duration(turn(len(ring)))*t.patience.heartbeat
	silence := time.Time{} // since when the nearer ones have sent no sign of life
	doubted, nearer := 0, 0
	for i := 1; i <= len(ring); i++ {
		p := ring[(next-i+len(ring))%len(ring)]
		inWindow := i <= want+2*doubted
		// A peer that has not responded to this node's greeting may have crashed unnoticed, and so may one that missed
		// its turn of a heartbeat to all.
		if !inWindow && p.met && now.Sub(p.seen) < forgotten {
			p.watch = watch{accused: p.accused}
			s.at(p.seen.Add(forgotten))
			continue
		}
		if p.watch.since.IsZero() {
			p.watch.since = now
			if inWindow && !silence.IsZero() {
				// Its watchers may have crashed at the same time: so it has been unresponsive for as long as they
				// were, if it does not respond.
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

// attend checks one peer, which has sent no sign of life since then. nearer is how many of its watchers are nearer to
// it. It returns true if no action is needed. The caller holds t.mu.
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

// accused handles an accusation. It returns true if this node has recently received a sign of life of the accused
// node, which must then be notified, unless that was done a moment ago.
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

// soon makes the keeper look no later than that. The caller holds t.mu.
func (t *table) soon(when time.Time) {
	if t.due.IsZero() || when.Before(t.due) {
		t.due = when
	}
}

// lookAt sets when the keeper looks; zero: at the next event.
func (t *table) lookAt(when time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = when
}

// nextLook returns when the keeper must look; zero if it need not.
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
