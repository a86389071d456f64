package hub

import "github.com/crossroom/crossroom/backplane"

// Target selects connections of the whole fleet. It is a value: methods return changed copies, so a Target may be kept
// and shared between goroutines. The zero Target selects no connection, and so does Room, User or Connection without
// names.
type Target struct {
	rooms, except []string // as the backplane names them
	everyone      bool
	volatile      bool
	local         bool
}

// The backplane has one space of room names, in which a connection's id is a room too. These prefixes keep a room
// that a client may choose apart from users and connections. An id has no colon.
const (
	roomPrefix = "r:"
	userPrefix = "u:"
)

// Everyone selects every connection.
func Everyone() Target { return Target{everyone: true} }

// Room selects the connections in any of the rooms.
func Room(names ...string) Target { return Target{rooms: prefixed(roomPrefix, names)} }

// User selects the connections of any of the users: all tabs and devices, wherever they are connected.
func User(names ...string) Target { return Target{rooms: prefixed(userPrefix, names)} }

// Connection selects connections by their ids.
func Connection(ids ...string) Target { return Target{rooms: append([]string(nil), ids...)} }

// And selects the connections that t or other selects, each once. A connection that t or other excludes is excluded from
// both. The result is Local or Volatile if one of them is.
func (t Target) And(other Target) Target {
	t.rooms = join(t.rooms, other.rooms)
	t.except = join(t.except, other.except)
	t.everyone = t.everyone || other.everyone
	t.volatile = t.volatile || other.volatile
	t.local = t.local || other.local
	return t
}

// Except excludes the connections that other selects. The exclusions of other are ignored.
func (t Target) Except(other Target) Target {
	if other.everyone {
		return Target{}
	}
	t.except = join(t.except, other.rooms)
	return t
}

// Volatile marks the message as not worth waiting for: the queue of a connection that reads too slowly drops it first, as
// package outgoing describes.
func (t Target) Volatile() Target { t.volatile = true; return t }

// Local selects only connections of this server: nothing is published.
func (t Target) Local() Target { t.local = true; return t }

// selection returns the target as the backplane takes it, and false if it selects nothing.
func (t Target) selection() (backplane.Target, bool) {
	if !t.everyone && len(t.rooms) == 0 {
		return backplane.Target{}, false
	}
	s := backplane.All()
	if !t.everyone {
		s = s.To(t.rooms...)
	}
	if len(t.except) > 0 {
		s = s.Except(t.except...)
	}
	if t.volatile {
		s = s.Volatile()
	}
	if t.local {
		s = s.Local()
	}
	return s, true
}

func prefixed(prefix string, names []string) []string {
	rooms := make([]string, len(names))
	for i, name := range names {
		rooms[i] = prefix + name
	}
	return rooms
}

// join returns a new slice, because both arguments may be shared.
func join(a, b []string) []string {
	return append(a[:len(a):len(a)], b...)
}
