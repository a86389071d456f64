package backplane

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
// heard of after an earlier goodbye.
func (t *peerTable) goodbye(id string, since int64) {
	t.mu.Lock()
	p := t.byID[id]
	ok := p != nil && p.since == since && p.state != left && !p.contested
	if ok {
		t.clear(p)
		t.discard(p)
		p.state, p.leftAt = left, time.Now()
		t.moved()
	}
	t.mu.Unlock()
	if ok {
		t.lost(id)
	}
}

// lost lets open requests stop waiting for a node.
func (t *peerTable) lost(id string) {
	for _, ns := range t.node.live() {
		ns.calls.lost(id)
	}
}

// expire notes who was not heard of for PeerTimeout, unless this node's link is down,
// and forgets who left so long ago.
func (t *peerTable) expire(now time.Time) {
	if t.node.isDown() {
		return
	}
	var dead []string
	t.mu.Lock()
	timeout := t.node.opts.PeerTimeout
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
			if !t.node.caps.CountsSubscribers || len(p.namespaces) == 0 {
				t.drop(p)
			}
		case p.state == left && now.Sub(p.leftAt) > timeout:
			t.drop(p)
		}
	}
	if dead != nil {
		t.moved()
	}
	t.mu.Unlock()
	for _, id := range dead {
		t.lost(id)
	}
}

// refresh gives everybody a new PeerTimeout after this node's own outage, in which
// nobody's silence meant anything.
func (t *peerTable) refresh(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		if p.state == live {
			p.seen = now
			t.clear(p)
		}
	}
}

// vanished says that the broker counts some expired peers no more in a namespace.
func (t *peerTable) vanished(key nsKey, ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		p := t.byID[id]
		if p == nil || p.state != expired {
			continue
		}
		if speaks, had := p.namespaces[key]; had {
			t.release(p, &spoken{key, speaks})
			delete(p.namespaces, key)
		}
		if len(p.namespaces) == 0 {
			t.drop(p)
		}
	}
}

// ghosts is how many expired peers are remembered.
func (t *peerTable) ghosts() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		if p.state == expired {
			n++
		}
	}
	return n
}
