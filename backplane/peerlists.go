package backplane

import (
	"strings"
	"time"
)

// This file keeps the lists of namespaces that peers announce. All of it is called
// with peerTable.mu held.

// partialList is a list of which some parts have not come yet.
type partialList struct {
	revision    uint64
	parts, next int
	list        []spoken
}

// early is a change that came before the list that it changes.
type early struct {
	base, revision uint64
	added, removed []spoken
}

// cost is what it takes to remember a namespace of a peer, in bytes.
func cost(s *spoken) int { return len(s.key.name) + len(s.speaks) + 128 }

// keep charges a peer for a namespace, if the limits allow it.
func (t *peerTable) keep(p *peer, s *spoken) bool {
	c := cost(s)
	if t.kept+c > maxKept {
		return false
	}
	p.kept += c
	t.kept += c
	return true
}

// release takes back what a peer was charged for a namespace.
func (t *peerTable) release(p *peer, s *spoken) {
	c := cost(s)
	p.kept -= c
	t.kept -= c
}

// refuse notes that a peer's announcement exceeds a limit. Its list stays out of date,
// and is not asked for again too soon.
func (t *peerTable) refuse(p *peer, now time.Time) {
	t.refused++
	t.discard(p)
	p.outdated(now)
	p.asked = now.Add(t.node.opts.Heartbeat)
}

// discard forgets what has come of a list that is not complete.
func (t *peerTable) discard(p *peer) {
	if p.partial != nil {
		for i := range p.partial.list {
			t.release(p, &p.partial.list[i])
		}
		p.partial = nil
	}
	for _, e := range p.early {
		for _, list := range [][]spoken{e.added, e.removed} {
			for i := range list {
				t.release(p, &list[i])
			}
		}
	}
	p.early = nil
}

// clone copies a namespace out of the memory of its frame.
func (s *spoken) clone() spoken {
	return spoken{nsKey{s.key.protocol, strings.Clone(s.key.name)}, strings.Clone(s.speaks)}
}

// takeAll appends copies of namespaces to dst, if the limits allow it.
func (t *peerTable) takeAll(p *peer, dst, list []spoken) ([]spoken, bool) {
	for i := range list {
		if len(dst) >= maxNames || !t.keep(p, &list[i]) {
			for j := range dst {
				t.release(p, &dst[j])
			}
			return nil, false
		}
		dst = append(dst, list[i].clone())
	}
	return dst, true
}

// collect takes in a part of a peer's list. It returns the list when it is complete.
// The parts of one revision are the same for whomever they are sent to, so it does not
// matter by which channel they come.
func (t *peerTable) collect(p *peer, f *controlFrame) (list []spoken, complete bool) {
	if p.known() && p.stale.IsZero() && f.revision <= p.revision {
		return nil, false // nothing new
	}
	if f.parts == 1 {
		return f.namespaces, true
	}
	l := p.partial
	switch {
	case f.part == 0:
		if l != nil && l.revision == f.revision {
			return nil, false // the others are on their way
		}
		if l != nil {
			for i := range l.list {
				t.release(p, &l.list[i])
			}
		}
		l = &partialList{revision: f.revision, parts: f.parts}
		p.partial = l
	case l == nil || l.revision != f.revision || l.parts != f.parts || l.next != f.part:
		return nil, false
	}
	var ok bool
	if l.list, ok = t.takeAll(p, l.list, f.namespaces); !ok {
		t.refuse(p, time.Now())
		return nil, false
	}
	if l.next++; l.next < l.parts {
		return nil, false
	}
	return l.list, true
}

// listed replaces a peer's list, and returns which namespaces it has left.
func (t *peerTable) listed(p *peer, revision uint64, list []spoken) (gone []nsKey) {
	now := time.Now()
	if len(list) > maxNames {
		t.refuse(p, now)
		return nil
	}
	had, fresh, refused := p.namespaces, make(map[nsKey]string, len(list)), false
	p.namespaces = fresh
	for key, speaks := range had {
		t.release(p, &spoken{key, speaks})
	}
	for i := range list {
		s := &list[i]
		if _, twice := fresh[s.key]; twice {
			continue
		}
		if refused = !t.keep(p, s); refused {
			break
		}
		c := s.clone()
		fresh[c.key] = c.speaks
		t.reopen(p, c.key)
	}
	for key := range had {
		if _, still := fresh[key]; !still {
			gone = append(gone, key)
			t.close(p, key, now)
		}
	}
	if refused {
		p.revision = 0
		t.refuse(p, now)
		return gone
	}
	p.revision, p.stale = revision, time.Time{}
	waiting := p.early
	p.early = nil
	for _, e := range waiting {
		gone = append(gone, t.apply(p, &e)...)
	}
	p.early = waiting
	t.discard(p)
	return gone
}

// change takes in a change of a peer's list, and returns which namespaces it has left.
func (t *peerTable) change(p *peer, f *controlFrame) (gone []nsKey) {
	if p.known() && f.revision <= p.revision {
		return nil
	}
	e := early{base: f.base, revision: f.revision, added: f.namespaces, removed: f.removed}
	if p.known() && f.base <= p.revision {
		return t.apply(p, &e)
	}
	p.outdated(time.Now())
	held := 0
	for i := range p.early {
		held += len(p.early[i].added) + len(p.early[i].removed)
	}
	if held+len(e.added)+len(e.removed) > maxEarly {
		return nil // the list will have it
	}
	var ok bool
	if e.added, ok = t.takeAll(p, nil, e.added); !ok {
		return nil
	}
	if e.removed, ok = t.takeAll(p, nil, e.removed); !ok {
		for i := range e.added {
			t.release(p, &e.added[i])
		}
		return nil
	}
	p.early = append(p.early, e)
	return nil
}

// apply carries out a change. One that begins before the list's revision and ends after
// it does no harm: it says which namespaces are there in the end.
func (t *peerTable) apply(p *peer, e *early) (gone []nsKey) {
	now := time.Now()
	switch {
	case e.revision <= p.revision:
		return nil
	case e.base > p.revision:
		p.outdated(now)
		return nil
	}
	for i := range e.removed {
		key := e.removed[i].key
		if speaks, had := p.namespaces[key]; had {
			t.release(p, &spoken{key, speaks})
			delete(p.namespaces, key)
			t.close(p, key, now)
			gone = append(gone, key)
		}
	}
	for i := range e.added {
		s := &e.added[i]
		if speaks, had := p.namespaces[s.key]; had {
			t.release(p, &spoken{s.key, speaks})
			delete(p.namespaces, s.key)
		}
		if len(p.namespaces) >= maxNames || !t.keep(p, s) {
			t.refuse(p, now)
			return gone
		}
		c := s.clone()
		p.namespaces[c.key] = c.speaks
		t.reopen(p, c.key)
	}
	p.revision = e.revision
	return gone
}

// close remembers for a while that a peer left a namespace, if the limits allow it: the
// broker may still count it there.
func (t *peerTable) close(p *peer, key nsKey, now time.Time) {
	if p.closed == nil {
		p.closed = make(map[nsKey]time.Time)
	}
	_, had := p.closed[key]
	if had || len(p.closed) < maxNames && t.keep(p, &spoken{key: key}) {
		p.closed[key] = now
	}
}

// reopen forgets that a peer left a namespace.
func (t *peerTable) reopen(p *peer, key nsKey) {
	if _, had := p.closed[key]; had {
		delete(p.closed, key)
		t.release(p, &spoken{key: key})
	}
}
