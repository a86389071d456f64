package backplane

import (
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Member is one local socket, or whatever else takes messages. Its methods are
// called from the node's goroutines and from those of Broadcast's callers, also at
// the same time; they must not block. What happens if one does is in the package
// documentation, section "Callbacks".
//
// A Member that embeds an Entry costs less memory and time.
type Member interface {
	// ID is unique in the fleet's namespace and never changes: valid UTF-8, one
	// to broker.MaxNameLen bytes. The member is always in a room of that name.
	ID() string
	// Deliver takes one message, and pushes it into the connection's outgoing.Queue if
	// it goes to a client. m and everything in it is shared with other members:
	// read-only, but it may be kept.
	Deliver(m *Message)
	// Disconnect asks the member to end, with its underlying connection if close.
	// Call Namespace.Remove when it has, from inside this call if you like: the core
	// does not remove it by itself.
	Disconnect(close bool)
}

// AckMember is a Member that can acknowledge messages. Those that are not
// AckMembers get broadcasts with acknowledgement through Deliver and are not
// counted.
type AckMember interface {
	Member
	// DeliverAck takes one message and calls ack at most once, from any goroutine
	// and whenever it likes, with the answer in the codec's encoding, nil for an
	// answer without a value. Further calls do nothing. ack does not keep payload. It
	// waits while the broker's queue is full, RequestsTimeout at most; if it is called
	// before DeliverAck has returned, that is a part of that call.
	DeliverAck(m *Message, ack func(payload []byte))
}

// RoomMember is a Member whose host keeps its rooms too, such as a server with rooms of its
// own. The calls follow the change here, in the order of changes and in their place among the
// broadcasts of other nodes; rooms are read-only, and may hold some that change nothing.
type RoomMember interface {
	Member
	// Joined is called when another node's request, or JoinAll of this one, has put the member
	// into rooms; Left, when one has taken it out. Join, Leave and Remove of this node do not
	// call them for a member of its own: that is the host speaking.
	Joined(rooms []string)
	Left(rooms []string)
}

// Describer is a Member that says something of itself to MembersDetail. The bytes,
// in the codec's encoding, are not changed afterwards by either side.
type Describer interface {
	Describe() []byte
}

// Message is one broadcast as members see it, made once and shared by all of them.
type Message struct {
	// Namespace it was sent in.
	Namespace string
	// Origin is the sending node's id; empty for this node's own.
	Origin string
	// Seq counts the origin's broadcasts in the namespace, zero if unknown.
	Seq uint64
	// Volatile: a member that is not ready to take it may drop it.
	Volatile bool
	// NoCompress: compressing it is not worth while.
	NoCompress bool
	// Header came with it; nil if there was none.
	Header map[string]string
	// Payload is the application's bytes.
	Payload []byte
	// Value is whatever NamespaceOptions.Prepare stored here.
	Value any
}

// Target selects members of the whole fleet and says how a broadcast travels. It is a
// value: methods return changed copies, so that one may be kept, shared between goroutines
// and built upon. The zero Target is All().
type Target struct{ sel wire.Selection }

// All selects every member.
func All() Target { return Target{} }

// To selects the members of any of the rooms; every member if there are none.
func To(rooms ...string) Target { return Target{}.To(rooms...) }

// To adds rooms.
func (t Target) To(rooms ...string) Target {
	t.sel = t.sel.To(rooms...)
	return t
}

// Except leaves out the members of any of the rooms, which may be member ids.
func (t Target) Except(rooms ...string) Target {
	t.sel = t.sel.Not(rooms...)
	return t
}

// Local selects members of this node only: nothing is published.
func (t Target) Local() Target { t.sel.LocalOnly = true; return t }

// Remote selects members of other nodes only.
func (t Target) Remote() Target { t.sel.RemoteOnly = true; return t }

// Volatile lets members that are not ready drop the broadcast.
func (t Target) Volatile() Target { t.sel.Flags |= wire.Volatile; return t }

// Compress says whether compressing the payload is worth while; it is by default.
func (t Target) Compress(on bool) Target {
	t.sel.Flags &^= wire.NoCompress
	if !on {
		t.sel.Flags |= wire.NoCompress
	}
	return t
}

// Header has h travel beside a broadcast or a request, such as trace context: at most
// MaxHeader bytes of names and values. It is not changed and not kept.
func (t Target) Header(h map[string]string) Target { t.sel.Header = h; return t }

// MaxHeader is how much of a header a receiver takes in: bytes of all names and values
// together. Some wires refuse to send more.
const MaxHeader = wire.MaxHeader

// checkNames refuses, with a *NameError, names that no codec and no broker could carry.
// what they name stands in the error.
func checkNames(what string, names []string) error {
	for _, n := range names {
		if err := checkName(what, n); err != nil {
			return err
		}
	}
	return nil
}

func checkName(what, name string) error {
	if reason := wire.CheckName(name); reason != "" {
		return &NameError{What: what, Name: name, Reason: reason}
	}
	return nil
}

func checkID(m Member) (string, error) {
	if m == nil {
		return "", &NameError{What: "member", Reason: "nil"}
	}
	id := m.ID()
	switch {
	case id == "":
		return "", &NameError{What: "id", Reason: "empty"}
	case rooms.LacksEntry(m):
		return "", &NameError{What: "member", Name: id, Reason: "embeds an Entry by a pointer that is nil"}
	}
	return id, checkName("id", id)
}
