package broker

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxNameLen is the longest namespace, room or node name, in bytes.
const MaxNameLen = 4096

// Wire says whose bytes a channel carries. Channels of different wires are
// different channels, on every broker: a frame in Crossroom's own encoding can
// never reach a peer that expects Socket.IO's, and the other way round.
type Wire uint8

const (
	// Native is Crossroom's own encoding; only Crossroom nodes listen.
	Native Wire = iota
	// SocketIO is the wire of socket.io-redis and @socket.io/redis-adapter. On
	// Redis its channels have exactly the names those packages use.
	SocketIO
)

// String returns "native" or "socket.io".
func (w Wire) String() string {
	switch w {
	case Native:
		return "native"
	case SocketIO:
		return "socket.io"
	}
	return "wire(" + strconv.Itoa(int(w)) + ")"
}

// Kind is what a channel is for.
type Kind uint8

const (
	// KindBroadcast carries messages to everybody in a namespace, or to several rooms.
	KindBroadcast Kind = iota + 1
	// KindRoom carries messages to exactly one room.
	KindRoom
	// KindRequests carries questions to every node of a namespace.
	KindRequests
	// KindResponses carries answers that every node of a namespace sees.
	KindResponses
	// KindNodeResponses carries answers to one node.
	KindNodeResponses
	// KindControl carries membership between Crossroom nodes: to all of them, or to
	// one. It has no namespace.
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

// Channel names where a message goes. It is a small comparable value: use == and
// map keys freely. The zero Channel is invalid. Only brokers turn a Channel into a
// name on the wire.
type Channel struct {
	wire Wire
	kind Kind
	ns   string
	name string
}

// Broadcast is the channel to everybody in a namespace.
func (w Wire) Broadcast(ns string) Channel { return Channel{wire: w, kind: KindBroadcast, ns: ns} }

// Room is the channel to exactly one room. The empty room name is a name like any other.
func (w Wire) Room(ns, room string) Channel {
	return Channel{wire: w, kind: KindRoom, ns: ns, name: room}
}

// Requests is the channel of questions to every node of a namespace.
func (w Wire) Requests(ns string) Channel { return Channel{wire: w, kind: KindRequests, ns: ns} }

// Responses is the channel of answers that every node of a namespace sees.
func (w Wire) Responses(ns string) Channel { return Channel{wire: w, kind: KindResponses, ns: ns} }

// NodeResponses is the channel of answers to one node.
func (w Wire) NodeResponses(ns, node string) Channel {
	return Channel{wire: w, kind: KindNodeResponses, ns: ns, name: node}
}

// Control is the channel on which Crossroom nodes announce themselves.
func Control() Channel { return Channel{wire: Native, kind: KindControl} }

// NodeControl is the channel on which one Crossroom node is told what concerns no
// other. id is not empty.
func NodeControl(id string) Channel { return Channel{wire: Native, kind: KindControl, name: id} }

// Wire returns whose bytes the channel carries.
func (c Channel) Wire() Wire { return c.wire }

// Kind returns what the channel is for; zero for the zero Channel.
func (c Channel) Kind() Kind { return c.kind }

// Namespace returns the namespace, empty for Control and NodeControl.
func (c Channel) Namespace() string { return c.ns }

// Name returns the room of a room channel and the node id of a node's response or
// control channel; otherwise the empty string.
func (c Channel) Name() string { return c.name }

// Clone returns an equal channel whose names share no memory with those of c, which may be
// parts of a large payload.
func (c Channel) Clone() Channel {
	c.ns, c.name = strings.Clone(c.ns), strings.Clone(c.name)
	return c
}

// String is for logs and errors. It is not the name on any wire.
func (c Channel) String() string {
	s := c.wire.String() + " " + c.kind.String()
	switch {
	case c.kind == 0:
		return s
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

// Validate returns a *NameError if no broker could carry the channel: it is the
// zero Channel, or a name in it is not valid UTF-8 or is longer than MaxNameLen.
// Brokers call it first and may refuse more.
func (c Channel) Validate() error {
	switch {
	case c.kind == 0 || c.kind > KindControl || c.wire > SocketIO:
		return &NameError{Channel: c, Reason: "not a channel made by this package's constructors"}
	case len(c.ns) > MaxNameLen:
		return &NameError{Channel: c, Reason: "namespace longer than " + strconv.Itoa(MaxNameLen) + " bytes"}
	case len(c.name) > MaxNameLen:
		return &NameError{Channel: c, Reason: "name longer than " + strconv.Itoa(MaxNameLen) + " bytes"}
	case !utf8.ValidString(c.ns) || !utf8.ValidString(c.name):
		return &NameError{Channel: c, Reason: "not valid UTF-8"}
	}
	return nil
}

// Filter selects channels to subscribe to. It is another type than Channel so that
// publishing to a wildcard does not compile. Filters are comparable.
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

// Exactly selects one channel.
func Exactly(ch Channel) Filter { return Filter{ch: ch} }

// EveryRoom selects everything broadcast in a namespace: Broadcast(ns) and
// Room(ns, r) for every r.
func (w Wire) EveryRoom(ns string) Filter { return Filter{ch: w.Broadcast(ns), form: everyRoom} }

// Uncounted selects the channel Requests(ns), like Exactly, but Subscribers does not count
// it. With it a node that leaves goes on hearing the requests of those that have counted it.
func (w Wire) Uncounted(ns string) Filter { return Filter{ch: w.Requests(ns), form: uncounted} }

// Channel returns the channel of Exactly and Uncounted, and the namespace's broadcast
// channel for EveryRoom.
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

// Matches reports whether a message on ch is selected.
func (f Filter) Matches(ch Channel) bool {
	if f.form != everyRoom {
		return ch == f.ch
	}
	return ch.wire == f.ch.wire && ch.ns == f.ch.ns && (ch.kind == KindBroadcast || ch.kind == KindRoom)
}

// String is for logs and errors.
func (f Filter) String() string {
	switch f.form {
	case everyRoom:
		return f.ch.wire.String() + " every room of " + strconv.Quote(f.ch.ns)
	case uncounted:
		return f.ch.String() + ", uncounted"
	}
	return f.ch.String()
}
