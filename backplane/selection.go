package backplane

import "slices"

// selection is a list of entries found for a message, with the scratch space to
// find them. It is reused, so that selecting allocates nothing.
type selection struct {
	list   []*entry
	except []place
	seen   []place
}

// place is a room name looked up: the stored room, and the member whose own room it
// is; either may be nil.
type place struct {
	room *room
	own  *entry
}

func (p place) has(e *entry) bool {
	return p.own == e || p.room != nil && e.has(p.room)
}

func (r *Rooms) place(name string) place {
	p := place{room: r.rooms[name]}
	if e := r.members[name]; e != nil && !e.out {
		p.own = e
	}
	return p
}

func anyHas(places []place, e *entry) bool {
	for _, p := range places {
		if p.has(e) {
			return true
		}
	}
	return false
}

// acking is how many of the members found can acknowledge a message, and are not
// stalled or gone.
func (s *selection) acking() (n int) {
	for _, e := range s.list {
		if e.ack != nil && e.state.Load() == 0 {
			n++
		}
	}
	return n
}

// find fills s.list with the members in any of rooms (all members if it is empty)
// that are in none of except, each once. The list is a snapshot: no lock is held
// when it returns.
func (s *selection) find(r *Rooms, rooms, except []string) {
	if r.size.Load() == 0 {
		s.list = s.list[:0]
		return
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.findLocked(r, rooms, except)
}

func (s *selection) findLocked(r *Rooms, rooms, except []string) {
	s.list, s.except, s.seen = s.list[:0], s.except[:0], s.seen[:0]
	// A name that is given many times costs little, and names without members
	// nothing: the lists are no longer than there are rooms here.
	for _, name := range except {
		if p := r.place(name); p != (place{}) && !slices.Contains(s.except, p) {
			s.except = append(s.except, p)
		}
	}
	if len(rooms) == 0 {
		s.take(r.all)
		return
	}
	for _, name := range rooms {
		p := r.place(name)
		if p == (place{}) || slices.Contains(s.seen, p) {
			continue
		}
		if p.room != nil {
			s.take(p.room.list)
		}
		if p.own != nil && !anyHas(s.except, p.own) && !anyHas(s.seen, p.own) && !(p.room != nil && p.own.has(p.room)) {
			s.list = append(s.list, p.own)
		}
		s.seen = append(s.seen, p)
	}
}

// findID fills s.list with the one member of that id; false if there is none.
func (s *selection) findID(r *Rooms, id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.list, s.except, s.seen = s.list[:0], s.except[:0], s.seen[:0]
	e, ok := r.members[id]
	if ok {
		s.list = append(s.list, e)
	}
	return ok
}

func (s *selection) take(list []*entry) {
	if len(s.except) == 0 && len(s.seen) == 0 {
		s.list = append(s.list, list...)
		return
	}
	for _, e := range list {
		if !anyHas(s.except, e) && !anyHas(s.seen, e) {
			s.list = append(s.list, e)
		}
	}
}

// Above this many entries a selection's memory is given back after use rather than
// kept for the next: one broadcast to a million members should not cost 8 MB for
// ever. Below, reuse makes fan-out free of allocations. The same for lists of rooms.
const (
	keepEntries = 1 << 18
	keepRooms   = 1 << 10
)

func (s *selection) reset() {
	if cap(s.list) > keepEntries {
		s.list = nil
	}
	clear(s.list) // do not keep removed members alive
	s.list = s.list[:0]
	if cap(s.except) > keepRooms {
		s.except = nil
	}
	if cap(s.seen) > keepRooms {
		s.seen = nil
	}
	clear(s.except)
	clear(s.seen)
}

func (r *Rooms) joinSelected(rooms, except, targets []string) int {
	return r.changeSelected(rooms, except, func(e *entry) { r.joinEntry(e, targets) })
}

func (r *Rooms) leaveSelected(rooms, except, targets []string) int {
	return r.changeSelected(rooms, except, func(e *entry) { r.leaveEntry(e, targets) })
}

// changeSelected changes the members that rooms and except select under one lock, so
// that no other change comes between, and returns how many there were.
func (r *Rooms) changeSelected(rooms, except []string, change func(*entry)) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s selection
	s.findLocked(r, rooms, except)
	for _, e := range s.list {
		change(e)
	}
	return len(s.list)
}

// list finds the selected members and lists them; with rooms if detail. What they say of
// themselves is the teller's.
func (r *Rooms) list(s *selection, rooms, except []string, detail bool) []MemberInfo {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s.findLocked(r, rooms, except)
	infos := make([]MemberInfo, len(s.list))
	for i, e := range s.list {
		infos[i].ID = e.id
		if detail {
			infos[i].Rooms = e.names()
		}
	}
	return infos
}

// dataOf is what a member says of itself, nil if it panics.
func dataOf(n *Node, e *entry, d Describer) []byte {
	defer func() {
		if v := recover(); v != nil {
			n.panicked("Describe", e.id, v)
		}
	}()
	return d.Describe()
}
