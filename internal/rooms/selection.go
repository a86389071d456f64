package rooms

import "slices"

// Selection is a list of entries selected for a message, with scratch space. It is reused, so that selecting allocates
// nothing.
type Selection[M any] struct {
	// List has the selected entries, each once. It is read-only: it may be the registry's.
	List   []*Entry[M]
	own    []*Entry[M] // memory for List, unless the registry has lent that
	except []place[M]
	every  []place[M]
	seen   []place[M] // of Filter.Rooms
	taken  int        // how many of seen are in List

	// With many names these take the place of a search in except and seen, whose cost would be the square of their number.
	excluded, listed map[*Entry[M]]struct{}
}

// manyNames is from how many names on a search in a list costs more than a map.
const manyNames = 16

// Filter selects members: those in any of Rooms (without Rooms, all members) that are in every one of All and in none
// of Except.
type Filter struct{ Rooms, All, Except []string }

// place is a resolved room name: the stored room, and the member whose own room it is. Either may be nil.
type place[M any] struct {
	room *room[M]
	own  *Entry[M]
}

func (p place[M]) has(e *Entry[M]) bool {
	return p.own == e || p.room != nil && e.has(p.room)
}

func (r *Registry[M]) place(name string) place[M] {
	p := place[M]{room: r.rooms[name]}
	if e := r.members[name]; e != nil && !e.out {
		p.own = e
	}
	return p
}

// len returns about how many members are in it.
func (p place[M]) len() int {
	if p.room == nil {
		return 1
	}
	return len(p.room.list)
}

// resolve appends the places of names that exist, each once. all reports whether each of the names exists.
func (r *Registry[M]) resolve(dst []place[M], names []string) (places []place[M], all bool) {
	var known map[place[M]]struct{}
	if len(names) > manyNames {
		known = make(map[place[M]]struct{})
	}
	all = true
	for _, name := range names {
		p := r.place(name)
		switch {
		case p == (place[M]{}):
			all = false
		case known == nil:
			if !slices.Contains(dst, p) {
				dst = append(dst, p)
			}
		default:
			if _, twice := known[p]; !twice {
				known[p] = struct{}{}
				dst = append(dst, p)
			}
		}
	}
	return dst, all
}

func allHave[M any](places []place[M], e *Entry[M]) bool {
	for _, p := range places {
		if !p.has(e) {
			return false
		}
	}
	return true
}

func anyHas[M any](places []place[M], e *Entry[M]) bool {
	for _, p := range places {
		if p.has(e) {
			return true
		}
	}
	return false
}

// Find fills s.List with the members that f selects, each once. The list is a snapshot: no lock is held when Find
// returns.
func (s *Selection[M]) Find(r *Registry[M], f Filter) {
	if r.size.Load() == 0 {
		s.List = nil
		return
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.findLocked(r, f)
}

func (s *Selection[M]) findLocked(r *Registry[M], f Filter) {
	s.List, s.except, s.every, s.seen, s.taken = s.own[:0], s.except[:0], s.every[:0], s.seen[:0], 0
	s.excluded, s.listed = nil, nil
	// A repeated name costs little, and a name without members nothing: the lists are no longer than the number of
	// local rooms.
	s.except, _ = r.resolve(s.except, f.Except)
	every, all := r.resolve(s.every, f.All)
	if s.every = every; !all { // no member is in it
		return
	}
	s.seen, _ = r.resolve(s.seen, f.Rooms)
	switch {
	case len(f.Rooms) > 0:
		candidates := 0
		for _, p := range s.seen {
			candidates += p.len()
		}
		s.exclude(candidates)
		if len(s.seen) > manyNames {
			s.listed = make(map[*Entry[M]]struct{})
		}
		for _, p := range s.seen {
			s.takePlace(p, len(f.Rooms) == 1)
		}
	case len(s.every) > 0:
		smallest := s.every[0]
		for _, p := range s.every[1:] {
			if p.len() < smallest.len() {
				smallest = p
			}
		}
		s.exclude(smallest.len())
		s.takePlace(smallest, true)
	default:
		s.exclude(len(r.all.list))
		s.take(&r.all, true)
	}
}

// exclude lists the members of the excepted rooms, if that is cheaper than a search for each candidate.
func (s *Selection[M]) exclude(candidates int) {
	if len(s.except) <= manyNames {
		return
	}
	search, list := candidates*len(s.except), 0
	for _, p := range s.except {
		list += p.len()
	}
	if list >= search/8 {
		return
	}
	s.excluded = make(map[*Entry[M]]struct{}, list)
	for _, p := range s.except {
		if p.own != nil {
			s.excluded[p.own] = struct{}{}
		}
		if p.room != nil {
			for _, e := range p.room.list {
				s.excluded[e] = struct{}{}
			}
		}
	}
}

// takePlace adds the members in a room that are not in an earlier one.
func (s *Selection[M]) takePlace(p place[M], alone bool) {
	if p.room != nil {
		s.take(&p.room.roster, alone)
	}
	if p.own != nil && s.wants(p.own) && !(p.room != nil && p.own.has(p.room)) {
		s.add(p.own)
	}
	s.taken++
}

// wants reports whether a member of a room is selected and not in the list yet.
func (s *Selection[M]) wants(e *Entry[M]) bool {
	if s.excluded != nil {
		if _, not := s.excluded[e]; not {
			return false
		}
	} else if anyHas(s.except, e) {
		return false
	}
	if s.listed != nil {
		if _, twice := s.listed[e]; twice {
			return false
		}
	} else if anyHas(s.seen[:min(s.taken, len(s.seen))], e) {
		return false
	}
	return allHave(s.every, e)
}

// FindID fills s.List with the member of that id. It returns false if the member does not exist.
func (s *Selection[M]) FindID(r *Registry[M], id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.List, s.except, s.every, s.seen, s.taken = s.own[:0], s.except[:0], s.every[:0], s.seen[:0], 0
	s.excluded, s.listed = nil, nil
	e, ok := r.members[id]
	if ok {
		s.add(e)
	}
	return ok
}

// take adds a roster. If it is the only one, the selection borrows its list.
func (s *Selection[M]) take(r *roster[M], alone bool) {
	switch {
	case len(s.except) > 0 || s.taken > 0 || len(s.every) > 0 || s.listed != nil:
		for _, e := range r.list {
			if s.wants(e) {
				s.add(e)
			}
		}
	case alone && len(r.list) >= lendFrom:
		s.List = r.lend()
	default:
		s.own = append(s.own[:0], r.list...)
		s.List = s.own
	}
}

func (s *Selection[M]) add(e *Entry[M]) {
	s.own = append(s.List, e) // in memory of its own if the list is borrowed
	s.List = s.own
	if s.listed != nil {
		s.listed[e] = struct{}{}
	}
}

// Keep removes the entries for which keep returns false from the list.
func (s *Selection[M]) Keep(keep func(*Entry[M]) bool) {
	was, kept := s.own, s.own[:0] // List has this memory, or that of the registry
	for _, e := range s.List {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	if len(was) > len(kept) {
		clear(was[len(kept):])
	}
	s.own, s.List = kept, kept
}

// lendFrom is the length from which a list is lent: copying a shorter one costs less than the copy
// at the next removal.
const lendFrom = 128

// Above this many entries a selection's memory is released after use: one broadcast to a million
// members must not cost 8 MB permanently. Below, reuse makes fan-out free of allocations. The same
// holds for lists of rooms.
const (
	keepEntries = 1 << 18
	keepPlaces  = 1 << 10
)

// Reset empties the selection for the next use.
func (s *Selection[M]) Reset() {
	if cap(s.own) > keepEntries {
		s.own = nil
	}
	clear(s.own) // do not keep removed members alive
	s.own, s.List = s.own[:0], nil
	s.excluded, s.listed = nil, nil
	if cap(s.except) > keepPlaces {
		s.except = nil
	}
	if cap(s.every) > keepPlaces {
		s.every = nil
	}
	if cap(s.seen) > keepPlaces {
		s.seen = nil
	}
	clear(s.except)
	clear(s.every)
	clear(s.seen)
}

// Renew gives up the memory of the selection, which then belongs to the holders of List.
func (s *Selection[M]) Renew() { s.own = nil }

// Selects reports whether f selects a member.
func (r *Registry[M]) Selects(f Filter) bool {
	var s Selection[M]
	s.Find(r, f)
	return len(s.List) > 0
}

// Count returns the number of members that f selects. It lists none if f is one room, or all members.
func (r *Registry[M]) Count(f Filter) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(f.All) == 0 && len(f.Except) == 0 {
		switch len(f.Rooms) {
		case 0:
			return len(r.all.list)
		case 1:
			p, n := r.place(f.Rooms[0]), 0
			if p.room != nil {
				n = len(p.room.list)
			}
			if p.own != nil && !(p.room != nil && p.own.has(p.room)) {
				n++
			}
			return n
		}
	}
	var s Selection[M]
	s.findLocked(r, f)
	return len(s.List)
}

// FindAndJoin is Find, and puts the found members into targets under the same lock, so that no
// other change is in between.
func (s *Selection[M]) FindAndJoin(r *Registry[M], f Filter, targets []string) {
	s.findAnd(r, f, func(e *Entry[M]) { r.joinEntry(e, targets, false) })
}

// FindAndGrant is FindAndJoin for a request of another node.
func (s *Selection[M]) FindAndGrant(r *Registry[M], f Filter, targets []string) {
	s.findAnd(r, f, func(e *Entry[M]) { r.joinEntry(e, targets, true) })
}

// FindAndLeave is FindAndJoin, but removes them from targets.
func (s *Selection[M]) FindAndLeave(r *Registry[M], f Filter, targets []string) {
	s.findAnd(r, f, func(e *Entry[M]) { r.leaveEntry(e, targets) })
}

func (s *Selection[M]) findAnd(r *Registry[M], f Filter, change func(*Entry[M])) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.findLocked(r, f)
	for _, e := range s.List {
		change(e)
	}
}

// FindDetail is Find, and returns the rooms of each selected member.
func (s *Selection[M]) FindDetail(r *Registry[M], f Filter) [][]string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.findLocked(r, f)
	names := make([][]string, len(s.List))
	for i, e := range s.List {
		names[i] = e.names()
	}
	return names
}

// Places returns the number of names that the last selection resolved.
func (s *Selection[M]) Places() int { return len(s.seen) + len(s.every) + len(s.except) }
