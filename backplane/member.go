package backplane

import (
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Member is a local socket, or another recipient of messages. The node's goroutines and callers of Broadcast call its
// methods, also at the same time; they must not block. Section "Callbacks" of the package documentation describes what
// happens if one does.
type Member interface {
	// ID is unique in the namespace across the fleet and never changes: valid UTF-8, one to broker.MaxNameLen bytes.
	// Add puts the member into the room of that name. Only Leave or LeaveAll with that name, or a refusal of the broker
	// (section "Subscriptions"), takes it out.
	ID() string
	// Deliver receives one message, and pushes it into the connection's outgoing.Queue if it goes to a client. m and
	// everything in it is shared with other members: read-only, but it may be kept.
	Deliver(m *Message)
	// Disconnect makes the member leave; with close, including its underlying connection. The node does not remove the
	// member: call Namespace.Remove, also within this call. Call Remove as well when the client closes its connection.
	Disconnect(close bool)
}

// AckMember is a Member that can acknowledge messages. Other members get broadcasts with acknowledgement through
// Deliver and are not counted.
type AckMember interface {
	Member
	// DeliverAck receives one message and calls ack at most once, from any goroutine and at any time. payload is the
	// acknowledgement; nil means one without a value. Further calls do nothing. ack does not keep payload. It waits
	// while the broker's queue is full, for RequestsTimeout at most. If ack is called before DeliverAck has returned,
	// that wait is a part of DeliverAck.
	DeliverAck(m *Message, ack func(payload []byte))
}

// ReasonMember is a Member that gets the reason of a disconnect.
type ReasonMember interface {
	Member
	// DisconnectFor is called in place of Disconnect. reason is that of Target.Reason, at most 1,024 bytes of another
	// process's choice; empty if there is none.
	DisconnectFor(reason string, close bool)
}

// RoomMember is a Member whose host keeps its rooms too, such as a server with rooms of its own. The node makes the
// calls after it has changed its own list of rooms. A call for another node's request comes in the order of messages:
// after the broadcasts that arrived before the request, and before those that arrived after it. rooms is valid during
// the call, and may include rooms that change nothing.
type RoomMember interface {
	Member
	// Joined is called after another node's request, or JoinAll of this node, has put the member into rooms; Left,
	// after one has taken it out, or after the broker has refused a room, then on a goroutine of its own. Join, Leave
	// and Remove of this node do not call them for a local member, because the host makes these calls itself.
	Joined(rooms []string)
	Left(rooms []string)
}

// Describer is a Member with data for MembersDetail and EachMember. The bytes must not be changed afterwards. Data of
// more than MaxDescription bytes is omitted, and reported as an *OpError that wraps a *broker.PayloadError.
type Describer interface {
	Describe() []byte
}

// Message is one broadcast as members receive it, made once and shared by all of them.
type Message struct {
	// Namespace of the broadcast.
	Namespace string
	// Origin is the sending node's id; empty for a broadcast of this node.
	Origin string
	// Seq counts the origin's broadcasts in the namespace; zero if unknown. It has gaps where members of this node were
	// not selected.
	Seq uint64
	// Volatile means that a member that is not ready may drop the message.
	Volatile bool
	// NoCompress means that compressing the payload is not worthwhile.
	NoCompress bool
	// Header of the message; nil if it has none.
	Header map[string]string
	// Payload is the application's bytes.
	Payload []byte
	// Value is what NamespaceOptions.Prepare stored here.
	Value any
}

// Target selects members of the whole fleet and sets how a broadcast travels. It is a value: methods return changed
// copies, so a Target may be kept, shared between goroutines and extended. The zero Target is All().
//
// A member's id is a room, in which any other member may be as well: a broadcast to an id reaches all members in the
// room of that name. Where clients choose names of rooms, NamespaceOptions.IsID keeps them out of the rooms of others.
type Target struct{ sel wire.Selection }

// All selects every member.
func All() Target { return Target{} }

// To selects the members in any of the rooms. Without rooms, as by To(list...) with an empty list, it selects no
// member: the operation does nothing, and its result is empty. All selects every member.
func To(rooms ...string) Target { return Target{}.To(rooms...) }

// InAll keeps, of the selected members, those that are in every one of the rooms: All().InAll("a", "b") selects the
// members in both rooms. Without rooms it keeps all.
func (t Target) InAll(rooms ...string) Target {
	t.sel = t.sel.InAll(rooms...)
	return t
}

// To adds rooms.
func (t Target) To(rooms ...string) Target {
	t.sel = t.sel.To(rooms...)
	return t
}

// Except excludes the members in any of the rooms, which may be member ids.
func (t Target) Except(rooms ...string) Target {
	t.sel = t.sel.Not(rooms...)
	return t
}

// CountLocal makes a broadcast store in n how many members of this node it selects, before it returns. Do not share
// such a Target between goroutines.
func (t Target) CountLocal(n *int) Target { t.sel.Selected = n; return t }

// Local selects only members of this node: nothing is published.
func (t Target) Local() Target { t.sel.LocalOnly = true; return t }

// Remote selects only members of other nodes.
func (t Target) Remote() Target { t.sel.RemoteOnly = true; return t }

// Volatile lets members that are not ready drop the broadcast.
func (t Target) Volatile() Target { t.sel.Flags |= wire.Volatile; return t }

// Compress sets whether compressing the payload is worthwhile. The default is true.
func (t Target) Compress(on bool) Target {
	t.sel.Flags &^= wire.NoCompress
	if !on {
		t.sel.Flags |= wire.NoCompress
	}
	return t
}

// Header sets data that travels with a broadcast or a request, such as trace context: at most MaxHeader bytes of names
// and values. The Target keeps the map, which must not be changed while a call uses the Target.
func (t Target) Header(h map[string]string) Target { t.sel.Header = h; return t }

// Reason sets the reason that DisconnectAll gives the members (ReasonMember): of a longer one the first 1,024 bytes. It
// travels as an entry of the header.
func (t Target) Reason(text string) Target { t.sel.Reason = wire.CutReason(text); return t }

// MaxHeader, 8 KiB, limits the part of a header that a receiver reads: the sum of the bytes of all names and values.
// Receivers drop the entries beyond it, and keep the message. In package adapter a larger header may be an error.
const MaxHeader = wire.MaxHeader

// MaxDescription, 64 KiB, limits the data of one member's Describe in a list, in bytes.
const MaxDescription = wire.MaxDescription

// checkNames refuses, with a *NameError, names that no codec and no broker can carry. what is the kind of name for the
// error.
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
		return "", &NameError{What: "member", Name: id, Reason: "embeds a nil *Entry"}
	}
	return id, checkName("id", id)
}
