package backplane

import (
	"sync"
	"sync/atomic"
)

// Rooms is the registry of a node's own members and the rooms they are in. It may
// be shared by namespaces of several nodes, which then have one set of members.
// All methods are safe for concurrent use.
//
// Every member is in a room named by its id without that room being stored.
type Rooms struct {
	mu      sync.RWMutex
	members map[string]*entry
	rooms   map[string]*room
	all     []*entry // every member; entry.pos is its place

	// size is len(all). A node without members, which only sends, finds out without
	// the lock that a message is for nobody here.
	size atomic.Int64
}

// Entry is where the registry keeps what it knows of one member. A Member may embed
// one, and has it then beside its own fields, which spares memory, and a cache miss for
// each message. Its zero value is ready; it has no other use.
type Entry struct{ entry }

// embedder is a Member that embeds an Entry.
type embedder interface{ embedded() *entry }

func (e *Entry) embedded() *entry { return &e.entry }

// lacksEntry reports whether a pointer is nil on the way to the Entry that a member
// embeds.
func lacksEntry(m Member) (lacks bool) {
	own, ok := m.(embedder)
	if !ok {
		return false
	}
	defer func() { lacks = recover() != nil }()
	own.embedded()
	return false
}

// entry is one member. Fields are guarded by Rooms.mu unless said otherwise.
type entry struct {
	// member never changes, and state is read without the lock, by fan-outs: zero for
	// a member that takes messages. entryGone is a bit; entryStalled is added once for
	// each of its calls that does not return. They stand first, in one cache line.
	member Member
	state  atomic.Uint32
	flags  atomic.Uint32

	out   bool            // left the room of its own id
	pos   int32           // in Rooms.all
	id    string          // never changes
	ack   AckMember       // nil if it is none; never changes
	in    []slot          // memberships
	index map[*room]int32 // place in `in`, once there are more than indexAbove
}

// newEntry returns the member's own entry, unless that is in use: a member may be in
// several registries, or be added again while something still holds its old entry.
func newEntry(m Member, id string) *entry {
	var e *entry
	if own, ok := m.(embedder); ok && own.embedded().flags.Or(entryTaken)&entryTaken == 0 {
		e = own.embedded()
	} else {
		e = new(entry)
	}
	e.member, e.id = m, id
	e.ack, _ = m.(AckMember)
	return e
}

const (
	entryGone    = 1
	entryStalled = 2
)

// Bits of flags.
const (
	entryTaken = 1 << iota // an embedded one: it is, or was, in a registry
	entryMute              // a call of Describe was left behind
)

// slot is one membership: the room, and where in the room's list the entry stands.
type slot struct {
	room *room
	pos  int32
}

type room struct {
	name string
	list []*entry // order means nothing
}

// Up to this many rooms a member's memberships are searched one by one.
const indexAbove = 24

// NewRooms returns an empty registry.
func NewRooms() *Rooms {
	return &Rooms{members: make(map[string]*entry), rooms: make(map[string]*room)}
}

// Len returns how many members there are.
func (r *Rooms) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.all)
}

// Counts returns how many members there are, and how many rooms they have joined
// together, without those of their own ids.
func (r *Rooms) Counts() (members, rooms int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.all), len(r.rooms)
}

// Member returns the local member with that id.
func (r *Rooms) Member(id string) (Member, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.members[id]
	if !ok {
		return nil, false
	}
	return e.member, true
}

// RoomsOf returns the rooms of a local member, its own id's first, and false if
// there is no such member.
func (r *Rooms) RoomsOf(id string) ([]string, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.members[id]
	if !ok {
		return nil, false
	}
	return e.names(), true
}

// Names returns all rooms that have local members, those of the members' own ids
// among them, in no order.
func (r *Rooms) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.rooms)+len(r.all))
	for name := range r.rooms {
		names = append(names, name)
	}
	for _, e := range r.all {
		if e.out {
			continue
		}
		if _, twice := r.rooms[e.id]; !twice { // somebody else joined it as well
			names = append(names, e.id)
		}
	}
	return names
}

// add registers a member; false if its id is taken.
func (r *Rooms) add(m Member, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.members[id]; taken {
		return false
	}
	e := newEntry(m, id)
	e.pos = int32(len(r.all))
	r.all = append(r.all, e)
	r.size.Store(int64(len(r.all)))
	r.members[id] = e
	return true
}

// remove forgets a member; false if there is none.
func (r *Rooms) remove(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.members[id]
	if !ok {
		return false
	}
	e.state.Or(entryGone)
	for _, s := range e.in {
		r.drop(s)
	}
	e.in, e.index = nil, nil
	delete(r.members, id)
	last := r.all[len(r.all)-1]
	r.all[e.pos], last.pos = last, e.pos
	r.all = shrink(r.all)
	r.size.Store(int64(len(r.all)))
	return true
}

// join puts a member into rooms; false if there is no such member.
func (r *Rooms) join(id string, names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.members[id]
	if ok {
		r.joinEntry(e, names)
	}
	return ok
}

func (r *Rooms) joinEntry(e *entry, names []string) {
	for _, name := range names {
		if name == e.id {
			e.out = false
			continue
		}
		rm := r.rooms[name]
		if rm == nil {
			// Names may share memory with a whole received message; the room
			// outlives it.
			rm = &room{name: string([]byte(name))}
			r.rooms[rm.name] = rm
		} else if e.has(rm) {
			continue
		}
		e.in = append(e.in, slot{rm, int32(len(rm.list))})
		rm.list = append(rm.list, e)
		if e.index != nil {
			e.index[rm] = int32(len(e.in) - 1)
		} else if len(e.in) > indexAbove {
			e.index = make(map[*room]int32, 2*indexAbove)
			for i, s := range e.in {
				e.index[s.room] = int32(i)
			}
		}
	}
}

// leave takes a member out of rooms; false if there is no such member.
func (r *Rooms) leave(id string, names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.members[id]
	if ok {
		r.leaveEntry(e, names)
	}
	return ok
}

func (r *Rooms) leaveEntry(e *entry, names []string) {
	for _, name := range names {
		if name == e.id {
			e.out = true
			continue
		}
		rm := r.rooms[name]
		if rm == nil {
			continue
		}
		i := e.find(rm)
		if i < 0 {
			continue
		}
		r.drop(e.in[i])
		last := len(e.in) - 1
		if e.index != nil {
			delete(e.index, rm)
			if int(i) != last {
				e.index[e.in[last].room] = i
			}
		}
		e.in[i] = e.in[last]
		e.in[last] = slot{}
		e.in = e.in[:last]
	}
}

// drop takes the entry at a slot out of the room's list, and the room away if it
// was the last.
func (r *Rooms) drop(s slot) {
	rm := s.room
	last := rm.list[len(rm.list)-1]
	rm.list[s.pos] = last
	if i := last.find(rm); i >= 0 {
		last.in[i].pos = s.pos
	}
	if rm.list = shrink(rm.list); len(rm.list) == 0 {
		delete(r.rooms, rm.name)
	}
}

// shrink cuts the last element off and gives memory back once three quarters of it
// lie idle.
func shrink(list []*entry) []*entry {
	n := len(list) - 1
	list[n] = nil
	list = list[:n]
	if c := cap(list); c > 64 && n < c/4 {
		list = append(make([]*entry, 0, c/2), list...)
	}
	return list
}

func (e *entry) find(rm *room) int32 {
	if e.index != nil {
		if i, ok := e.index[rm]; ok {
			return i
		}
		return -1
	}
	for i := range e.in {
		if e.in[i].room == rm {
			return int32(i)
		}
	}
	return -1
}

func (e *entry) has(rm *room) bool { return e.find(rm) >= 0 }

func (e *entry) names() []string {
	names := make([]string, 0, len(e.in)+1)
	if !e.out {
		names = append(names, e.id)
	}
	for _, s := range e.in {
		names = append(names, s.room.name)
	}
	return names
}

// holds reports whether a local member is in the room. It is the whole cost of a
// message for a room that nobody here is in.
func (r *Rooms) holds(name string) bool {
	if r.size.Load() == 0 {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.rooms[name] != nil {
		return true
	}
	e := r.members[name]
	return e != nil && !e.out
}
