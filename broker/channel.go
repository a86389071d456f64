package broker

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxNameLen is the longest namespace, room or node name, in bytes.
const MaxNameLen = 4096

// Kind is the purpose of a channel.
type Kind uint8

const (
	// KindBroadcast carries messages to all members of a namespace, or to several rooms.
	KindBroadcast Kind = iota + 1
	// KindRoom carries messages to exactly one room.
	KindRoom
	// KindRequests carries requests to every node of a namespace.
	KindRequests
	// KindResponses carries responses that every node of a namespace sees.
	KindResponses
	// KindNodeResponses carries responses to one node.
	KindNodeResponses
	// KindControl carries membership messages between Crossroom nodes: to all of them, or to one. It has no namespace.
	KindControl
)

var kindNames = [...]string{"invalid", "broadcast", "room", "requests", "responses", "node-responses", "control"}

// String returns the kind's name in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Channel is the destination of a message. It is a small comparable value: use == and map keys freely. The zero
// Channel is invalid. Only brokers turn a Channel into a name on the system.
type Channel struct {
	protocol Protocol
	kind     Kind
	ns       string
	name     string
}

// Control returns the channel on which Crossroom nodes announce themselves.
func Control() Channel { return Channel{protocol: Native, kind: KindControl} }

// NodeControl returns the control channel of one Crossroom node. With an empty id it returns Control().
func NodeControl(id string) Channel { return Channel{protocol: Native, kind: KindControl, name: id} }

// Protocol returns the protocol whose messages the channel carries.
func (c Channel) Protocol() Protocol { return c.protocol }

// Kind returns the purpose of the channel; zero for the zero Channel.
func (c Channel) Kind() Kind { return c.kind }

// Namespace returns the namespace, empty for Control and NodeControl.
func (c Channel) Namespace() string { return c.ns }

// Name returns the room of a room channel and the node id of a node's response or
// control channel; otherwise the empty string.
func (c Channel) Name() string { return c.name }

// Clone returns an equal channel whose names share no memory with those of c. The names of c may be parts of a large
// payload.
func (c Channel) Clone() Channel {
	c.ns, c.name = strings.Clone(c.ns), strings.Clone(c.name)
	return c
}

// String returns a description for logs and errors. It is not the name on any system.
func (c Channel) String() string {
	s := c.kind.String()
	if c.kind == 0 {
		return s
	}
	s = c.protocol.String() + " " + s
	switch {
	case c.kind == KindControl && c.name == "":
		return s
	case c.kind == KindControl:
		return s + " " + strconv.Quote(c.name)
	}
	s += " " + strconv.Quote(c.ns)
	if c.kind == KindRoom || c.kind == KindNodeResponses {
		s += " " + strconv.Quote(c.name)
	}
	return s
}

// Validate returns a *NameError if no broker can carry the channel: it is the zero Channel, its protocol does not have
// its kind, or a name in it is not valid UTF-8 or is longer than MaxNameLen. Brokers call it first and may refuse
// more.
func (c Channel) Validate() error {
	switch {
	case c.kind == 0 || c.kind > KindControl || c.protocol == Protocol{} || c.kind == KindControl && c.protocol != Native:
		return &NameError{Channel: c, Reason: "no such channel"}
	case len(c.ns) > MaxNameLen:
		return &NameError{Channel: c, Reason: "namespace longer than " + strconv.Itoa(MaxNameLen) + " bytes"}
	case len(c.name) > MaxNameLen:
		return &NameError{Channel: c, Reason: "name longer than " + strconv.Itoa(MaxNameLen) + " bytes"}
	case !utf8.ValidString(c.ns) || !utf8.ValidString(c.name):
		return &NameError{Channel: c, Reason: "not valid UTF-8"}
	}
	return nil
}

// Filter selects channels to subscribe to. It is not a Channel, so that publishing to a wildcard does not compile.
// Filters are comparable.
type Filter struct {
	ch   Channel
	form form
}

type form uint8

const (
	exactly form = iota
	everyRoom
	uncounted
)

// Exactly returns the filter that selects one channel.
func Exactly(ch Channel) Filter { return Filter{ch: ch} }

// Channel returns the channel of Exactly and Uncounted. For EveryRoom it returns the namespace's broadcast channel.
func (f Filter) Channel() Channel { return f.ch }

// IsEveryRoom reports whether the filter was made by EveryRoom.
func (f Filter) IsEveryRoom() bool { return f.form == everyRoom }

// IsUncounted reports whether the filter was made by Uncounted.
func (f Filter) IsUncounted() bool { return f.form == uncounted }

// Clone returns an equal filter whose names share no memory with those of f.
func (f Filter) Clone() Filter {
	f.ch = f.ch.Clone()
	return f
}

// Matches reports whether the filter selects ch.
func (f Filter) Matches(ch Channel) bool {
	if f.form != everyRoom {
		return ch == f.ch
	}
	return ch.protocol == f.ch.protocol && ch.ns == f.ch.ns && (ch.kind == KindBroadcast || ch.kind == KindRoom)
}

// String returns a description for logs and errors.
func (f Filter) String() string {
	switch f.form {
	case everyRoom:
		return f.ch.protocol.String() + " every room of " + strconv.Quote(f.ch.ns)
	case uncounted:
		return f.ch.String() + ", uncounted"
	}
	return f.ch.String()
}
