package membership

import (
	"strings"
	"time"
)

// This file keeps the lists of namespaces that peers announce. The caller of each function holds table.mu.

// partialList is a list with missing parts.
type partialList struct {
	revision    uint64
	parts, next int
	list        []served
}

// early is a change that came before the list that it changes.
type early struct {
	base, revision uint64
	added, removed []served
}

// cost returns the memory for a namespace of a peer, in bytes.
func cost(s *served) int { return len(s.Name) + len(s.Speaks) + 128 }

// keep records the memory of a namespace for a peer, if the limits allow it.
func (t *table) keep(p *peer, s *served) bool {
	c := cost(s)
	if t.kept+c > maxKept || p.stranger() && t.strange+c > maxStrange {
		return false
	}
	if p.stranger() {
		t.strange += c
	}
	p.kept += c
	t.kept += c
	return true
}

// release removes the memory of a namespace from a peer's record.
func (t *table) release(p *peer, s *served) {
	c := cost(s)
	if p.stranger() {
		t.strange -= c
	}
	p.kept -= c
	t.kept -= c
}

// refuse records that a peer's announcement exceeds a limit. Its list stays outdated, and is not requested again too
// soon.
func (t *table) refuse(p *peer, now time.Time) {
	t.refused++
	t.discard(p)
	p.outdated(now)
	p.asked = now.Add(t.heartbeat)
}

// discard drops the parts of an incomplete list.
func (t *table) discard(p *peer) {
	if p.partial != nil {
		for i := range p.partial.list {
			t.release(p, &p.partial.list[i])
		}
		p.partial = nil
	}
	for _, e := range p.early {
		for _, list := range [][]served{e.added, e.removed} {
			for i := range list {
				t.release(p, &list[i])
			}
		}
	}
	p.early = nil
}

// clone copies a namespace out of the memory of its frame.
func (s *served) clone() served {
	return served{Namespace{s.Protocol, strings.Clone(s.Name)}, strings.Clone(s.Speaks)}
}

// takeAll appends copies of namespaces to dst, if the limits allow it.
func (t *table) takeAll(p *peer, dst, list []served) ([]served, bool) {
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

// collect handles a part of a peer's list. It returns the list when it is complete. The parts of one revision are the
// same for every recipient, so they may come by different channels.
func (t *table) collect(p *peer, f *frame) (list []served, complete bool) {
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
			return nil, false // the others are in flight
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

// listed replaces a peer's list, and returns the namespaces that it has left.
func (t *table) listed(p *peer, revision uint64, list []served) (gone []Namespace) {
	now := time.Now()
	if len(list) > maxNames {
		t.refuse(p, now)
		return nil
	}
	had, fresh, refused := p.namespaces, make(map[Namespace]string, len(list)), false
	p.namespaces = fresh
	for key, speaks := range had {
		t.release(p, &served{key, speaks})
	}
	for i := range list {
		s := &list[i]
		if _, twice := fresh[s.Namespace]; twice {
			continue
		}
		if refused = !t.keep(p, s); refused {
			break
		}
		c := s.clone()
		fresh[c.Namespace] = c.Speaks
		t.reopen(p, c.Namespace)
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

// change handles a change of a peer's list, and returns the namespaces that it has left.
func (t *table) change(p *peer, f *frame) (gone []Namespace) {
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
		return nil // the list will include it
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

// apply carries out a change. A change that begins before the list's revision and ends after it does no harm, because
// it has the final state of each namespace.
func (t *table) apply(p *peer, e *early) (gone []Namespace) {
	now := time.Now()
	switch {
	case e.revision <= p.revision:
		return nil
	case e.base > p.revision:
		p.outdated(now)
		return nil
	}
	for i := range e.removed {
		key := e.removed[i].Namespace
		if speaks, had := p.namespaces[key]; had {
			t.release(p, &served{key, speaks})
			delete(p.namespaces, key)
			t.close(p, key, now)
			gone = append(gone, key)
		}
	}
	for i := range e.added {
		s := &e.added[i]
		if speaks, had := p.namespaces[s.Namespace]; had {
			t.release(p, &served{s.Namespace, speaks})
			delete(p.namespaces, s.Namespace)
		}
		if len(p.namespaces) >= maxNames || !t.keep(p, s) {
			t.refuse(p, now)
			return gone
		}
		c := s.clone()
		p.namespaces[c.Namespace] = c.Speaks
		t.reopen(p, c.Namespace)
	}
	p.revision = e.revision
	return gone
}

// close remembers for a while that a peer left a namespace, if the limits allow it, because the broker may still count
// it there.
func (t *table) close(p *peer, key Namespace, now time.Time) {
	if p.closed == nil {
		p.closed = make(map[Namespace]time.Time)
	}
	_, had := p.closed[key]
	if had || len(p.closed) < maxNames && t.keep(p, &served{Namespace: key}) {
		p.closed[key] = now
		t.soon(now.Add(t.peerTimeout))
	}
}

// reopen forgets that a peer left a namespace.
func (t *table) reopen(p *peer, key Namespace) {
	if _, had := p.closed[key]; had {
		delete(p.closed, key)
		t.release(p, &served{Namespace: key})
	}
}
