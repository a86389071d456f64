package presence

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of members. The package documentation, section "Limits", has the others.
const (
	// MaxName limits a room, an ID and a User, in bytes each.
	MaxName = 1024
	// MaxState limits the state of a member, in bytes.
	MaxState = 4096
	// MaxMembers limits the members of one node.
	MaxMembers = 1 << 18
	// MaxBytes limits the names and states of the members of one node. Each member counts with 64 bytes besides its own.
	MaxBytes = 64 << 20
	// MaxChanges limits the changes that wait for a slow Watch loop.
	MaxChanges = 1024
)

// Member is one connection in one room.
type Member struct {
	// ID of the connection, unique on its node.
	ID string
	// User of the connection. Empty in Join means ID.
	User string
	// Node that the member is on. Join ignores it.
	Node string
	// State is the application's data. Join copies it. In results it is read-only.
	State []byte
}

func (m *Member) size(room string) int {
	return 64 + len(room) + len(m.ID) + len(m.User) + len(m.State)
}

func (m *Member) equal(o *Member) bool { return m.User == o.User && bytes.Equal(m.State, o.State) }

// check returns why a member cannot be joined to a room.
func (m *Member) check(room string) error {
	for _, n := range []struct{ what, name string }{{"room", room}, {"ID", m.ID}, {"User", m.User}} {
		switch {
		case len(n.name) > MaxName:
			return &LimitError{What: "bytes of " + n.what, Limit: MaxName}
		case !utf8.ValidString(n.name):
			return &NameError{What: n.what, Name: n.name, Reason: "not valid UTF-8"}
		}
	}
	if m.ID == "" {
		return &NameError{What: "ID", Reason: "empty"}
	}
	if len(m.State) > MaxState {
		return &LimitError{What: "bytes of State", Limit: MaxState}
	}
	return nil
}

// Room is the state of one room, as one node knows it at one moment. The caller owns it, except the states of members.
type Room struct {
	// Name of the room.
	Name string
	// Members on all nodes, sorted by User, ID and Node.
	Members []Member
	// Missing lists the other nodes whose members are not all known, sorted: this node has not received them yet, or they
	// exceed a limit. Node.KnownPeers of package backplane lists all other nodes.
	Missing []string
}

// User is a user with all connections in one room.
type User struct {
	// ID of the user: Member.User of each connection.
	ID string
	// Members are the connections, sorted by ID and Node. They are a part of Room.Members.
	Members []Member
}

// Users returns the users in the room, sorted by ID, each once.
func (r Room) Users() []User {
	var users []User
	for rest := r.Members; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].User == rest[0].User {
			n++
		}
		users = append(users, User{rest[0].User, rest[:n:n]})
		rest = rest[n:]
	}
	return users
}

func sortMembers(list []Member) {
	slices.SortFunc(list, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.User, b.User), strings.Compare(a.ID, b.ID), strings.Compare(a.Node, b.Node))
	})
}
