package backplane

import "unicode/utf8"

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
	// Deliver takes one message. m and everything in it is shared with other
	// members: read-only, but it may be kept.
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
	// waits while the broker's queue is full, RequestTimeout at most; if it is called
	// before DeliverAck has returned, that is a part of that call.
	DeliverAck(m *Message, ack func(payload []byte))
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
	Seq   uint64
	Flags Flags
	// Header came with it; nil if there was none.
	Header Header
	// Payload is the application's bytes.
	Payload []byte
	// Value is whatever NamespaceOptions.Prepare stored here.
	Value any
}

// Target selects members of the whole fleet and says how a broadcast travels. The
// zero Target is everybody. It is a value: methods return changed copies and never
// write to slices that another Target holds.
type Target struct {
	// Rooms: members in any of them; empty means everybody.
	Rooms []string
	// Except: but no member in any of these. A member's id is one of its rooms.
	Except []string
	// LocalOnly keeps a broadcast on this node.
	LocalOnly bool
	// RemoteOnly keeps it off this node's own members.
	RemoteOnly bool
	Flags      Flags
	// Header travels with a broadcast. It is not changed and not kept.
	Header Header
	// Relay is Broadcast.Relay.
	Relay string
}

// All selects everybody.
func All() Target { return Target{} }

// To selects the members of any of the rooms; everybody if there are none.
func To(rooms ...string) Target { return Target{}.To(rooms...) }

// To adds rooms.
func (t Target) To(rooms ...string) Target {
	t.Rooms = append(t.Rooms[:len(t.Rooms):len(t.Rooms)], rooms...)
	return t
}

// Not excepts the members of rooms, which may be member ids.
func (t Target) Not(rooms ...string) Target {
	t.Except = append(t.Except[:len(t.Except):len(t.Except)], rooms...)
	return t
}

// Local keeps the broadcast on this node.
func (t Target) Local() Target { t.LocalOnly = true; return t }

// Volatile lets members that are not ready drop the broadcast.
func (t Target) Volatile() Target { t.Flags |= Volatile; return t }

// CheckNames refuses, with a *NameError, names that no codec and no broker could carry:
// those longer than broker.MaxNameLen, or not valid UTF-8. what they name stands in the
// error. Every method checks what it is given; it is for those who send without a Node.
func CheckNames(what string, names []string) error {
	for _, n := range names {
		if err := checkName(what, n); err != nil {
			return err
		}
	}
	return nil
}

func checkName(what, name string) error {
	switch {
	case len(name) > maxNameLen:
		return &NameError{What: what, Name: name, Reason: "longer than 4096 bytes"}
	case !utf8.ValidString(name):
		return &NameError{What: what, Name: name, Reason: "not valid UTF-8"}
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
	case lacksEntry(m):
		return "", &NameError{What: "member", Name: id, Reason: "embeds an Entry by a pointer that is nil"}
	}
	return id, checkName("id", id)
}
