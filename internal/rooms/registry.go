package rooms

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Registry holds the members of one server and their rooms. Namespaces of several nodes may share one. All methods are
// safe for concurrent use.
//
// Every member is in the room of its own id, which is not stored.
type Registry[M any] struct {
	mu      sync.RWMutex
	members map[string]*Entry[M]
	rooms   map[string]*room[M]
	all     roster[M] // every member; Entry.pos is its index
	granted int       // memory of the memberships that requests of other nodes made, as cost counts it
	left    func(room string)
	changed func(c Change, room, member string)

	// size is that of all. A node without members, which only sends, learns from it without the lock that a message
	// selects no local member.
	size atomic.Int64
}

// slot is one membership: the room, the entry's index in the room's list, and whether a request of another node made it.
type slot[M any] struct {
	room    *room[M]
	pos     int32
	granted bool
}

// Limits of what requests of other nodes make a registry remember.
const (
	// MaxGranted is the memory of all memberships that such requests made, in bytes. Each counts with grantSize bytes and the
	// room's name.
	MaxGranted = 512 << 20
	grantSize  = 96
	// MaxGrants is how many memberships one request makes.
	MaxGrants = 1 << 20
)

func cost(room string) int { return grantSize + len(room) }

// Grants reports whether a request of another node may put n members into rooms.
func (r *Registry[M]) Grants(n int, names []string) bool {
	each := 0
	for _, name := range names {
		each += cost(name)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return n == 0 || len(names) <= MaxGrants/n && each <= (MaxGranted-r.granted)/n
}

type room[M any] struct {
	name string
	roster[M]
}

// roster is a list of entries in no particular order.
type roster[M any] struct {
	list []*Entry[M]
	lent atomic.Bool // selections have the list: its elements stay as they are
}

// lend returns the list for a selection, so that a broadcast to a large room does not copy it. The
// first removal afterwards copies it.
func (r *roster[M]) lend() []*Entry[M] {
	if !r.lent.Load() {
		r.lent.Store(true)
	}
	return slices.Clip(r.list)
}

// remove removes the entry at pos, puts the last one in its place, and returns that one.
func (r *roster[M]) remove(pos int32) (moved *Entry[M]) {
	if r.lent.Load() {
		r.list = slices.Clone(r.list)
		r.lent.Store(false)
	}
	n := len(r.list) - 1
	moved = r.list[n]
	r.list[pos], r.list[n] = moved, nil
	r.list = r.list[:n]
	if c := cap(r.list); c > 64 && n < c/4 { // three quarters are unused
		r.list = append(make([]*Entry[M], 0, c/2), r.list...)
	}
	return moved
}

// Up to this many rooms a member's memberships are searched linearly.
const indexAbove = 24

// New returns an empty registry.
func New[M any]() *Registry[M] {
	return &Registry[M]{members: make(map[string]*Entry[M]), rooms: make(map[string]*room[M])}
}

// Watch sets the function that is called for each room that loses its last member, also a room of a
// member's own id, while the registry is locked. Call it before there are members.
func (r *Registry[M]) Watch(left func(room string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = left
}

// Change is a change of a registry.
type Change uint8

// Changes of rooms. Created comes before Joined, and Deleted after Left.
const (
	Created Change = iota + 1
	Joined
	Left
	Deleted
)

// WatchChanges sets the function that is called for each change, while the registry is locked. The names may be kept;
// member is empty for Created and Deleted. Call it before there are members.
func (r *Registry[M]) WatchChanges(changed func(c Change, room, member string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed = changed
}

// exists reports whether a room has members. mu is held.
func (r *Registry[M]) exists(name string) bool {
	e := r.members[name]
	return r.rooms[name] != nil || e != nil && !e.out
}

// joining calls the function of WatchChanges before e joins a room. mu is held.
func (r *Registry[M]) joining(name string, e *Entry[M]) {
	if r.changed == nil {
		return
	}
	if !r.exists(name) {
		r.changed(Created, name, "")
	}
	r.changed(Joined, name, e.id)
}

// leftRoom calls the function of WatchChanges after e has left a room. mu is held.
func (r *Registry[M]) leftRoom(name string, e *Entry[M]) {
	if r.changed == nil {
		return
	}
	r.changed(Left, name, e.id)
	if !r.exists(name) {
		r.changed(Deleted, name, "")
	}
}

// emptied calls the function of Watch if the room is empty. mu is held.
func (r *Registry[M]) emptied(name string) {
	if r.left == nil || r.rooms[name] != nil {
		return
	}
	if e := r.members[name]; e == nil || e.out {
		r.left(name)
	}
}

// Len returns the number of members.
func (r *Registry[M]) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.all.list)
}

// Counts returns the number of members, and the number of rooms that they have joined, without the rooms of their own
// ids.
func (r *Registry[M]) Counts() (members, rooms int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.all.list), len(r.rooms)
}

// Member returns the local member with that id.
func (r *Registry[M]) Member(id string) (m M, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.members[id]
	if !ok {
		return m, false
	}
	return e.Member, true
}

// RoomsOf returns the rooms of a local member, its own id's first, and false if the member does not exist.
func (r *Registry[M]) RoomsOf(id string) ([]string, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.members[id]
	if !ok {
		return nil, false
	}
	return e.names(), true
}

// Names returns all rooms that have local members, including those of the members' own ids, in no order.
func (r *Registry[M]) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.rooms)+len(r.all.list))
	r.eachName(func(name string) { names = append(names, name) })
	return names
}

// eachName calls f with each name of Names. mu is held.
func (r *Registry[M]) eachName(f func(string)) {
	for name := range r.rooms {
		f(name)
	}
	for _, e := range r.all.list {
		if e.out {
			continue
		}
		if _, twice := r.rooms[e.id]; !twice { // another member has joined it too
			f(e.id)
		}
	}
}

// Add registers a member. It returns false if the id is taken.
func (r *Registry[M]) Add(m M, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.members[id]; taken {
		return false
	}
	e := newEntry(m, id)
	r.joining(id, e)
	e.pos = int32(len(r.all.list))
	r.all.list = append(r.all.list, e)
	r.size.Store(int64(len(r.all.list)))
	r.members[id] = e
	return true
}

// Remove removes a member. It returns false if the member does not exist.
func (r *Registry[M]) Remove(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.members[id]
	if !ok {
		return false
	}
	e.state.Or(gone)
	for _, s := range e.in {
		r.drop(s, e)
	}
	e.in, e.index = nil, nil
	delete(r.members, id)
	r.all.remove(e.pos).pos = e.pos
	r.size.Store(int64(len(r.all.list)))
	if !e.out {
		r.emptied(id)
		r.leftRoom(id, e)
	}
	return true
}

// Join puts a member into rooms. It returns false if the member does not exist.
func (r *Registry[M]) Join(id string, names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.members[id]
	if ok {
		r.joinEntry(e, names, false)
	}
	return ok
}

// Grant is Join for a request of another node.
func (r *Registry[M]) Grant(id string, names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.members[id]
	if ok {
		r.joinEntry(e, names, true)
	}
	return ok
}

func (r *Registry[M]) joinEntry(e *Entry[M], names []string, granted bool) {
	for _, name := range names {
		if name == e.id {
			if e.out {
				r.joining(e.id, e)
				e.out = false
			}
			continue
		}
		rm := r.rooms[name]
		if rm != nil && e.has(rm) {
			continue
		}
		if rm != nil {
			r.joining(rm.name, e)
		} else {
			// Names may share memory with a whole received message, which the room outlives.
			rm = &room[M]{name: string([]byte(name))}
			r.joining(rm.name, e)
			r.rooms[rm.name] = rm
		}
		e.in = append(e.in, slot[M]{rm, int32(len(rm.list)), granted})
		if granted {
			r.granted += cost(rm.name)
		}
		rm.list = append(rm.list, e)
		if e.index != nil {
			e.index[rm] = int32(len(e.in) - 1)
		} else if len(e.in) > indexAbove {
			e.index = make(map[*room[M]]int32, 2*indexAbove)
			for i, s := range e.in {
				e.index[s.room] = int32(i)
			}
		}
	}
}

// Leave removes a member from rooms. It returns false if the member does not exist.
func (r *Registry[M]) Leave(id string, names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.members[id]
	if ok {
		r.leaveEntry(e, names)
	}
	return ok
}

func (r *Registry[M]) leaveEntry(e *Entry[M], names []string) {
	for _, name := range names {
		if name == e.id {
			if !e.out {
				e.out = true
				r.emptied(name)
				r.leftRoom(e.id, e)
			}
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
		r.drop(e.in[i], e)
		last := len(e.in) - 1
		if e.index != nil {
			delete(e.index, rm)
			if int(i) != last {
				e.index[e.in[last].room] = i
			}
		}
		e.in[i] = e.in[last]
		e.in[last] = slot[M]{}
		e.in = e.in[:last]
	}
}

// drop removes e, the entry at a slot, from the room's list, and the room if it is empty.
func (r *Registry[M]) drop(s slot[M], e *Entry[M]) {
	if s.granted {
		r.granted -= cost(s.room.name)
	}
	moved := s.room.remove(s.pos)
	if i := moved.find(s.room); i >= 0 {
		moved.in[i].pos = s.pos
	}
	if len(s.room.list) == 0 {
		delete(r.rooms, s.room.name)
		r.emptied(s.room.name)
	}
	r.leftRoom(s.room.name, e)
}

func (e *Entry[M]) find(rm *room[M]) int32 {
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

func (e *Entry[M]) has(rm *room[M]) bool { return e.find(rm) >= 0 }

func (e *Entry[M]) names() []string {
	names := make([]string, 0, len(e.in)+1)
	if !e.out {
		names = append(names, e.id)
	}
	for _, s := range e.in {
		names = append(names, s.room.name)
	}
	return names
}

// Holds reports whether a local member is in the room. This is the whole cost of a message for a room without local
// members.
func (r *Registry[M]) Holds(name string) bool {
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
