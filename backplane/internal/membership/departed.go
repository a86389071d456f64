package membership

import (
	"time"
)

// This file handles peers that have left or crashed, but whose subscriptions the broker may still count: for a moment
// after a goodbye; for much longer if a process is frozen, or its machine crashed without closing the connection. A
// forgotten node that is still counted would look like a foreign peer, for which every query waits.

// goodbye handles the goodbye of a node. It must be of exactly the known life. A goodbye of a later life is ignored,
// and so is one of a life that sent a sign of life after an earlier goodbye. It reports whether the goodbye is
// accepted.
func (t *table) goodbye(id string, since int64) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	ok = p != nil && p.since == since && p.state != left && !p.contested
	if ok {
		t.clear(p)
		t.discard(p)
		if p.proved && p.state == live {
			t.changed(Departed, p.id)
			p.drains = false
		}
		p.state, p.leftAt, p.watch = left, time.Now(), watch{}
		t.soon(p.leftAt)
		t.moved()
	}
	return ok
}

// age expires a peer that was accused and did not respond, or that was only mentioned, and forgets one that left or
// expired long enough ago. The caller holds t.mu.
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
	case p.state == live && p.stranger():
		t.pursue(p, now, s)
		end = p.born.Add(t.peerTimeout)
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
		t.vanished(p)
		t.clear(p)
		t.discard(p)
		p.state, p.stale, p.watch = expired, time.Time{}, watch{}
		t.unlist(p, leaving)
		if !t.counts || !p.proved || len(p.namespaces) == 0 {
			t.drop(p)
		}
	}
}

// refresh gives all peers a new PeerTimeout after this node's own outage, in which missing signs of life meant
// nothing.
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

// unlist removes an entry of a peer's list. The caller holds t.mu.
func (t *table) unlist(p *peer, key Namespace) {
	if speaks, had := p.namespaces[key]; had {
		t.release(p, &served{key, speaks})
		delete(p.namespaces, key)
	}
}

// uncounted records that the broker no longer counts some expired peers in a namespace.
func (t *table) uncounted(key Namespace, ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		p := t.byID[id]
		if p == nil || p.state != expired {
			continue
		}
		t.unlist(p, key)
		if len(p.namespaces) == 0 {
			t.drop(p)
		}
	}
}
