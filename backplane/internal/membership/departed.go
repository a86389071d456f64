package membership

import (
	"time"
)

// This file is about peers that are there no more, but whose subscriptions the broker
// may still count: for a moment after a goodbye; for much longer if a process is
// frozen, or its machine went down without closing the connection. A node that was
// forgotten and is still counted would look like a server that does not announce
// itself, for which every query waits.

// goodbye takes in that a node leaves. It must be of exactly the life that is known:
// a goodbye of a later life is not believed, and neither is one of a life that was
// heard of after an earlier goodbye. It reports whether it is believed.
func (t *table) goodbye(id string, since int64) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	ok = p != nil && p.since == since && p.state != left && !p.contested
	if ok {
		t.clear(p)
		t.discard(p)
		p.state, p.leftAt, p.watch = left, time.Now(), watch{}
		t.soon(p.leftAt)
		t.moved()
	}
	return ok
}

// age ends a peer that was accused and did not answer, or was only mentioned, and forgets
// one that left or died so long ago. t.mu is held.
func (t *table) age(p *peer, now time.Time, s *survey) {
	for key, at := range p.closed {
		if end := at.Add(t.peerTimeout); now.After(end) {
			t.reopen(p, key)
		} else {
			s.at(end.Add(1))
		}
	}
	var end time.Time
	switch {
	case p.state == left:
		end = p.leftAt.Add(t.peerTimeout)
	case p.state == live && p.since == 0:
		end = p.seen.Add(t.peerTimeout)
	case p.state == live && !p.accused.IsZero():
		end = p.accused.Add(t.patience.defence + defenceMargin)
	default:
		return
	}
	switch {
	case now.Before(end):
		s.at(end)
	case p.state == left:
		t.drop(p)
	default:
		s.dead = append(s.dead, p.id)
		t.clear(p)
		t.discard(p)
		p.state, p.stale, p.watch = expired, time.Time{}, watch{}
		if !t.counts || len(p.namespaces) == 0 {
			t.drop(p)
		}
	}
}

// refresh gives everybody a new PeerTimeout after this node's own outage, in which
// nobody's silence meant anything.
func (t *table) refresh(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		if p.state == live {
			p.seen = now
			t.clear(p)
			p.watch = watch{since: now}
		}
	}
	t.soon(now.Add(t.patience.overdue))
}

// uncounted says that the broker counts some expired peers no more in a namespace.
func (t *table) uncounted(key Namespace, ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		p := t.byID[id]
		if p == nil || p.state != expired {
			continue
		}
		if speaks, had := p.namespaces[key]; had {
			t.release(p, &served{key, speaks})
			delete(p.namespaces, key)
		}
		if len(p.namespaces) == 0 {
			t.drop(p)
		}
	}
}
