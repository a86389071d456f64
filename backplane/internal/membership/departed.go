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
		p.state, p.leftAt = left, time.Now()
		t.moved()
	}
	return ok
}

// expire notes who was not heard of for PeerTimeout, unless this node's link is down,
// and forgets who left so long ago. It returns the ids of the first.
func (t *table) expire(now time.Time) (dead []string) {
	if t.down.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	timeout := t.peerTimeout
	for _, p := range t.byID {
		for key, at := range p.closed {
			if now.Sub(at) > timeout {
				t.reopen(p, key)
			}
		}
		switch {
		case p.state == live && now.Sub(p.seen) > timeout:
			dead = append(dead, p.id)
			t.clear(p)
			t.discard(p)
			p.state, p.stale = expired, time.Time{}
			if !t.counts || len(p.namespaces) == 0 {
				t.drop(p)
			}
		case p.state == left && now.Sub(p.leftAt) > timeout:
			t.drop(p)
		}
	}
	if dead != nil {
		t.moved()
	}
	return dead
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
		}
	}
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
