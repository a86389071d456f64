package wire

import (
	"maps"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Codec turns the core's messages into the bytes of one protocol and back. The core
// has one of its own, for fleets of Crossroom nodes only; package adapter brings
// the one of Socket.IO. Implementations keep no state between calls that a caller
// could notice and are safe for concurrent use.
//
// Append methods append one encoded message to dst and return the extended slice;
// they keep nothing of dst or the message. They return an error that wraps
// errors.ErrUnsupported if the protocol has no such message.
//
// Decode methods fill in a struct whose slices they reuse. Strings and byte slices
// in it may share memory with payload, which nobody ever writes to. Input is
// untrusted: malformed bytes are an error, never a panic, and what is allocated
// stays in proportion to len(payload).
type Codec interface {
	// Protocol returns the protocol of the channels that carry these bytes.
	Protocol() broker.Protocol

	// Hello describes this codec to peers (such as "native/1" or
	// "socket.io/v6"), for Peer.Speaks.
	Hello() string

	AppendBroadcast(dst []byte, ns string, b *Broadcast) ([]byte, error)
	DecodeBroadcast(payload []byte, ns string, b *Broadcast) error

	// BroadcastChannel says where a broadcast goes: normally the room's channel
	// for exactly one room and the namespace's otherwise.
	BroadcastChannel(ns string, b *Broadcast) broker.Channel

	AppendRequest(dst []byte, ns string, r *Request) ([]byte, error)
	DecodeRequest(payload []byte, ns string, r *Request) error

	// AppendResponse encodes the answer to r.Request in the form it was asked in.
	// An empty result without an error means that in this form one stays silent
	// (a node without the member, say).
	AppendResponse(dst []byte, ns string, r *Response) ([]byte, error)
	// ResponseChannel says where the answer to r.Request goes.
	ResponseChannel(ns string, r *Response) broker.Channel
	DecodeResponse(payload []byte, ns string, r *Response) error
}

// ForeignPeers is a Codec of a protocol that servers speak which do not announce themselves
// to Crossroom nodes (Node.js servers). Without it, every listener of the protocol is a
// Crossroom node.
type ForeignPeers interface {
	// Expect returns how many responses to r will come from foreign peers, given who listens.
	// An error refuses the request: sending it would harm one of them.
	Expect(ns string, r *Request, p Unannounced) (Expected, error)
}

// Unannounced counts the peers of a namespace that hold its request channel but
// are not Crossroom nodes.
type Unannounced struct {
	// Total of them.
	Total int
	// Responding is how many of them hold a response channel of their own, -1 if
	// the broker cannot tell.
	Responding int
}

// Expected is how many answers a request gets from unannounced peers.
type Expected struct {
	// Answers that will come if all are well.
	Answers int
	// FirstOnly: only the peer that has the member answers; the others are silent.
	FirstOnly bool
	// Silent peers do as they are told, or not, but never answer.
	Silent int
}

// Header carries what travels beside a message, such as trace context. A nil
// Header is empty.
type Header map[string]string

// Clone returns a copy.
func (h Header) Clone() Header { return maps.Clone(h) }

// MaxHeader is how much of a Header a receiver takes in: bytes of all names and values
// together. Codecs may refuse to send more.
const MaxHeader = 8 << 10

// Flags are hints that go with a broadcast. The upper four bits are the codec's own:
// the core only passes them on.
type Flags uint8

const (
	// Volatile: may be dropped for a member that is not ready to take it.
	Volatile Flags = 1 << iota
	// NoCompress: compressing it is not worth while.
	NoCompress
	// Binary: the payload holds binary values (for codecs to which that matters).
	Binary
)

// Broadcast is a message to members.
type Broadcast struct {
	// Origin is the sending node's id; on a foreign wire, whatever stands there.
	Origin string
	// Seq counts the origin's broadcasts in the namespace from 1; zero if the
	// wire did not carry it. Concurrent broadcasts of one node may overtake each
	// other by a little. A broadcast that failed at the broker has used up its number,
	// as members of its node may have got it; so may one that was refused while others
	// were on their way out.
	Seq uint64
	// Rooms and Except select the members: those in any of Rooms, or all if it is
	// empty, but none in any of Except.
	Rooms, Except []string
	Flags         Flags
	Header        Header
	// HeaderDropped is how many entries of the header a decoder left out: they were
	// too large, not text, or there already.
	HeaderDropped int
	// Payload is the application's, opaque to the core.
	Payload []byte
	// Lead, if it is not empty, is free memory directly before Payload in the same array.
	// AppendBroadcast may write the message around the payload there, up to the end of the
	// array, and return that in place of an extended dst: so the payload is not copied.
	Lead []byte
	// Relay is set on what one fleet's node passes on from another fleet, and on
	// what a node sends into several fleets at once; empty otherwise. Codecs
	// carry it; only package adapter gives it a meaning.
	Relay string
}

// Op is what a request asks for.
type Op uint8

const (
	// OpMembers lists the members that Rooms and Except select; with rooms and
	// data if Detail.
	OpMembers Op = iota + 1
	// OpRoomsOf lists the rooms of Member.
	OpRoomsOf
	// OpRooms lists all rooms that have members.
	OpRooms
	// OpJoin puts members into the rooms Targets: Member if ByID, otherwise those
	// that Rooms and Except select.
	OpJoin
	// OpLeave takes members out of Targets.
	OpLeave
	// OpDisconnect disconnects members, with their connection if Close.
	OpDisconnect
	// OpCustom hands Payload to the application of every other node; each gives
	// one answer.
	OpCustom
	// OpEvent hands Payload to the other nodes' event listeners: answered only if
	// a listener answers (Socket.IO's serverSideEmit).
	OpEvent
	// OpBroadcast delivers Payload like a Broadcast and brings back the members'
	// acknowledgements.
	OpBroadcast
)

var opNames = [...]string{"invalid", "members", "rooms-of", "rooms", "join", "leave", "disconnect", "custom", "event", "broadcast"}

// String returns the operation's name in lower case.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "invalid"
}

// Request is a question to every node of a namespace.
type Request struct {
	// ID pairs answers with the request. Empty on receipt: no answer is expected.
	ID string
	Op Op
	// Origin is the asking node's id; empty if the wire does not say.
	Origin string
	// Rooms and Except select members, as in Broadcast, unless ByID.
	Rooms, Except []string
	// ByID: the operation is on the one member named Member.
	ByID   bool
	Member string
	// Targets are the rooms of OpJoin and OpLeave.
	Targets []string
	// Close of OpDisconnect.
	Close bool
	// Detail of OpMembers.
	Detail bool
	// NoReply: the asker does not want answers. (OpEvent without ack.)
	NoReply bool
	// Timeout of OpBroadcast: how long members have to acknowledge; zero if not said.
	Timeout time.Duration
	Flags   Flags
	Header  Header
	// HeaderDropped is as in Broadcast.
	HeaderDropped int
	// Payload of OpCustom, OpEvent and OpBroadcast.
	Payload []byte
	// Form is the codec's own note of how the request was written, so that it can
	// be answered alike. The core copies it and looks no further.
	Form uint8
	// Native: the asker is a Crossroom node, and so understands NotFound and the
	// rest of what other peers do not.
	Native bool
}

// Response is one answer of one node. OpBroadcast has several: one with Count set
// and Ack false, and one with Ack true for each acknowledging member.
type Response struct {
	// Request is set when encoding: the request that is answered. When decoding,
	// the core takes what it needs from its own memory of RequestID.
	Request *Request
	// RequestID pairs the answer with the request. It is empty if the answer
	// came without one, as from a peer that misunderstood.
	RequestID string
	// Node is the answering Crossroom node's id; empty for other peers.
	Node string
	// Members of OpMembers; nil from a foreign peer that sent no list.
	Members []MemberInfo
	// Rooms of OpRooms and OpRoomsOf; nil from a foreign peer that sent no list.
	Rooms []string
	// NotFound: this node does not have the member (ByID operations).
	NotFound bool
	// Count is how many members a selector operation touched, or how many
	// acknowledgements of OpBroadcast will come from this node; negative from a foreign
	// peer that sent none.
	Count int
	// Ack: this is one member's acknowledgement; Payload has its value.
	Ack bool
	// Payload of OpCustom and OpEvent answers and acknowledgements; nil if the
	// answer has no value.
	Payload []byte
	// Err is the answering application's error, as text; empty if there is none.
	Err string
	// Busy: the node has too many requests under way and did nothing. Err says so too,
	// for those who only read text.
	Busy bool
	// More: these are some of the node's Members or Rooms; the others are in the
	// responses that follow. Only Native requests are answered so.
	More   bool
	Header Header
	// Brief of a response to OpMembers with Detail says how much of what members say of
	// themselves to leave out, so that the list fits into one message: the larger, the
	// more, up to MaxBrief, which is everything.
	Brief uint8
}

// MaxBrief is the largest Response.Brief.
const MaxBrief = 3

// MemberInfo describes a member of some node, as backplane.MemberInfo does.
type MemberInfo struct {
	ID string
	// Node that has the member; empty if the node did not say its id.
	Node string
	// Rooms it is in, its own id's among them, in no order. Nil unless asked for.
	Rooms []string
	// Data is what the member says of itself, in the codec's encoding. Nil unless
	// asked for, or if the member says nothing.
	Data []byte
}

// Lacks reports whether a foreign peer's response has not got what a request is for. It
// does not count as that peer's answer: what was asked for is missing.
func (r *Response) Lacks(op Op) bool {
	if r.Node != "" || r.Ack {
		return false
	}
	switch op {
	case OpMembers:
		return r.Members == nil
	case OpRooms:
		return r.Rooms == nil
	case OpRoomsOf: // asked as OpMembers where the wire has nothing better
		return r.Rooms == nil && r.Members == nil
	case OpBroadcast:
		return r.Count < 0
	}
	return false
}
