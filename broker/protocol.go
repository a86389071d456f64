package broker

import "unique"

// Protocol identifies the kind of messages that a channel carries. Channels of different protocols are different
// channels on every broker, so that no message of one protocol reaches a peer that expects another. Protocols are
// comparable, and equal if their names are. The zero Protocol is invalid, and so are its channels.
//
// A package that adds a protocol makes it with NewProtocol and uses the kinds of channels and filters that it needs.
// The memory broker and the NATS broker carry every protocol. A broker that has no names for a protocol refuses it
// with a *ProtocolError.
type Protocol struct{ name unique.Handle[string] }

var (
	// Native is Crossroom's own protocol. Only Crossroom nodes subscribe to its channels. Every broker carries it.
	Native = NewProtocol("native")
	// SocketIO is the protocol of socket.io-redis and @socket.io/redis-adapter. On Redis its channels have exactly the
	// names that those packages use. Every broker carries it.
	SocketIO = NewProtocol("socketio")
)

// maxProtocolLen is the longest name of a protocol, in bytes.
const maxProtocolLen = 64

// NewProtocol returns the protocol with a name of 1 to 64 letters a to z, digits and hyphens. For another name it
// returns the zero Protocol.
func NewProtocol(name string) Protocol {
	if name == "" || len(name) > maxProtocolLen {
		return Protocol{}
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || 'z' < c) && (c < '0' || '9' < c) && c != '-' {
			return Protocol{}
		}
	}
	return Protocol{unique.Make(name)}
}

// String returns the name, or "invalid" for the zero Protocol.
func (p Protocol) String() string {
	if p == (Protocol{}) {
		return "invalid"
	}
	return p.name.Value()
}

// Broadcast returns the channel to all members of a namespace.
func (p Protocol) Broadcast(ns string) Channel {
	return Channel{protocol: p, kind: KindBroadcast, ns: ns}
}

// Room returns the channel to exactly one room. The empty room name is a name like any other.
func (p Protocol) Room(ns, room string) Channel {
	return Channel{protocol: p, kind: KindRoom, ns: ns, name: room}
}

// Requests returns the channel of requests to every node of a namespace.
func (p Protocol) Requests(ns string) Channel {
	return Channel{protocol: p, kind: KindRequests, ns: ns}
}

// Responses returns the channel of responses that every node of a namespace sees.
func (p Protocol) Responses(ns string) Channel {
	return Channel{protocol: p, kind: KindResponses, ns: ns}
}

// NodeResponses returns the channel of responses to one node.
func (p Protocol) NodeResponses(ns, node string) Channel {
	return Channel{protocol: p, kind: KindNodeResponses, ns: ns, name: node}
}

// Channel returns the channel of a kind, for brokers that parse its parts from the names of their system. ns and name
// are ignored for kinds that have none. Validate refuses the channel of a kind that the protocol does not have.
func (p Protocol) Channel(k Kind, ns, name string) Channel {
	switch k {
	case KindBroadcast, KindRequests, KindResponses:
		name = ""
	case KindControl:
		ns = ""
	}
	return Channel{protocol: p, kind: k, ns: ns, name: name}
}

// EveryRoom returns the filter for everything broadcast in a namespace: Broadcast(ns), and Room(ns, r) for every r.
func (p Protocol) EveryRoom(ns string) Filter { return Filter{ch: p.Broadcast(ns), form: everyRoom} }

// Uncounted returns a filter that selects Requests(ns) like Exactly, but Subscribers does not count it. With it a node
// that leaves still receives the requests of nodes that have counted it.
func (p Protocol) Uncounted(ns string) Filter { return Filter{ch: p.Requests(ns), form: uncounted} }
