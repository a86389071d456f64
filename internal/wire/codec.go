package wire

import (
	"maps"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Codec converts the core's messages to the bytes of one protocol and back. The core has a codec of its own, for
// fleets of Crossroom nodes only; package adapter has the codec of Socket.IO. Implementations are stateless for their
// callers and safe for concurrent use.
//
// Append methods append one encoded message to dst and return the extended slice. They keep nothing of dst or the
// message. They return an error that wraps errors.ErrUnsupported if the protocol has no such message.
//
// Decode methods fill a struct whose slices they reuse. Its strings and byte slices may share memory with payload,
// which is never written to. Input is untrusted: malformed bytes are an error, never a panic, and allocations are
// proportional to len(payload).
type Codec interface {
	// Protocol returns the protocol of the channels that carry these bytes.
	Protocol() broker.Protocol

	// Hello describes this codec to peers (such as "native/1" or "socket.io/v6"), for Peer.Speaks.
	Hello() string

	AppendBroadcast(dst []byte, ns string, b *Broadcast) ([]byte, error)
	DecodeBroadcast(payload []byte, ns string, b *Broadcast) error

	// BroadcastChannel returns the channel of a broadcast: normally the room's channel for exactly one room, and the
	// namespace's otherwise.
	BroadcastChannel(ns string, b *Broadcast) broker.Channel

	AppendRequest(dst []byte, ns string, r *Request) ([]byte, error)
	DecodeRequest(payload []byte, ns string, r *Request) error

	// AppendResponse encodes the response to r.Request in the form of the request. An empty result without an error
	// means that this form requires no response, for example from a node without the member.
	AppendResponse(dst []byte, ns string, r *Response) ([]byte, error)
	// ResponseChannel returns the channel of the response to r.Request.
	ResponseChannel(ns string, r *Response) broker.Channel
	DecodeResponse(payload []byte, ns string, r *Response) error
}

// ForeignPeers is implemented by a Codec whose protocol is also spoken by foreign peers, which do not announce
// themselves to Crossroom nodes (Node.js servers). Without it, every subscriber of the protocol is a Crossroom node.
type ForeignPeers interface {
	// Expect returns how many responses to r will come from the foreign peers p. An error refuses the request: sending
	// it would crash or mislead one of them.
	Expect(ns string, r *Request, p Unannounced) (Expected, error)
}

// Unannounced counts the foreign peers of a namespace: the subscribers of its request channel that are not Crossroom
// nodes.
type Unannounced struct {
	// Total is their number.
	Total int
	// Responding is how many of them have a response channel of their own; -1 if the broker cannot tell.
	Responding int
}

// Expected is the number of responses that a request gets from foreign peers.
type Expected struct {
	// Answers is the number of responses from healthy peers.
	Answers int
	// FirstOnly means that only the peer with the member responds.
	FirstOnly bool
	// Unconfirmed, with FirstOnly, means that this peer does not respond either: it is found before, and then no
	// response is waited for.
	Unconfirmed bool
	// Silent is the number of peers that never respond, whether or not they serve the request.
	Silent int
}

// Header has the data that travels beside a message, such as trace context. A nil Header is empty.
type Header map[string]string

// Clone returns a copy.
func (h Header) Clone() Header { return maps.Clone(h) }

// MaxHeader limits the part of a Header that a receiver reads: the sum of the bytes of all names and values. Codecs
// may refuse to send more.
const MaxHeader = 8 << 10

// MaxDescription is how much of what one member says of itself goes into a list, in bytes.
const MaxDescription = 64 << 10

// Flags are hints of a broadcast. The upper four bits belong to the codec: the core only passes them on.
type Flags uint8

const (
	// Volatile means that the message may be dropped for a member that is not ready for it.
	Volatile Flags = 1 << iota
	// NoCompress means that compressing the message is not worthwhile.
	NoCompress
	// Binary means that the payload has binary values, for codecs that need to know.
	Binary
)

// Broadcast is a message to members.
type Broadcast struct {
	// Origin is the sending node's id. On a foreign wire it is whatever that wire has in its place.
	Origin string
	// Seq counts the origin's broadcasts in the namespace from 1; zero if the wire does not carry it. Concurrent
	// broadcasts of one node may be slightly out of order. A broadcast that failed at the broker has used its number,
	// because local members may have received it. So may one that was refused during concurrent broadcasts.
	Seq uint64
	// Rooms, All and Except select the members: those in any of Rooms (all members if it is empty) that are in every one
	// of All, without those in any of Except.
	Rooms, All, Except []string
	Flags              Flags
	Header             Header
	// HeaderDropped counts the entries of the header that a decoder dropped: too large, not text, or duplicate.
	HeaderDropped int
	// Payload belongs to the application and is opaque to the core.
	Payload []byte
	// Lead, if not empty, is free memory directly before Payload in the same array. AppendBroadcast may write the
	// message around the payload there, up to the end of the array, and return that in place of an extended dst. This
	// avoids copying the payload.
	Lead []byte
	// Relay is set on messages that a node forwards from another fleet, and on messages that a node sends into several
	// fleets at once; otherwise it is empty. Codecs carry it; only package adapter interprets it.
	Relay string
}

// Op is the operation of a request.
type Op uint8

const (
	// OpMembers lists the members that Rooms and Except select; with rooms and data if Detail is set.
	OpMembers Op = iota + 1
	// OpRoomsOf lists the rooms of Member.
	OpRoomsOf
	// OpRooms lists all rooms that have members.
	OpRooms
	// OpJoin puts members into the rooms Targets: Member if ByID is set, otherwise those that Rooms and Except select.
	OpJoin
	// OpLeave takes these members out of Targets.
	OpLeave
	// OpDisconnect disconnects these members, and closes their connections if Close is set.
	OpDisconnect
	// OpCustom passes Payload to the application of every other node. Each sends one response.
	OpCustom
	// OpEvent passes Payload to the other nodes' event listeners (Socket.IO's serverSideEmit). A node responds only if
	// a listener does.
	OpEvent
	// OpBroadcast delivers Payload like a Broadcast and collects the members' acknowledgements.
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

// Request is a request to every node of a namespace.
type Request struct {
	// ID matches responses to the request. A received request with an empty ID expects no response.
	ID string
	Op Op
	// Origin is the requesting node's id; empty if the wire does not carry it.
	Origin string
	// Rooms, All and Except select members, as in Broadcast, unless ByID is set.
	Rooms, All, Except []string
	// ByID means that the operation is on the one member with the id Member.
	ByID   bool
	Member string
	// Targets are the rooms of OpJoin and OpLeave.
	Targets []string
	// Close belongs to OpDisconnect.
	Close bool
	// Detail and CountOnly belong to OpMembers. CountOnly means that a Crossroom node responds with the number of
	// members in Response.Count, and without Members.
	Detail, CountOnly bool
	// Page of OpMembers and OpRooms, if positive, asks a Crossroom node for one page: of its members or rooms, in the
	// order of their names, those after After, as many as take about Page bytes. Foreign peers send all.
	Page  int
	After string
	// To, if set, is the one node that gets the request, in a Response with Ask. It is not encoded. Only pages are
	// requested so.
	To string
	// NoReply means that the requester wants no responses (OpEvent without acknowledgement).
	NoReply bool
	// Timeout of OpBroadcast: how long members have to acknowledge; zero if unknown.
	Timeout time.Duration
	Flags   Flags
	Header  Header
	// HeaderDropped is as in Broadcast.
	HeaderDropped int
	// Payload of OpCustom, OpEvent and OpBroadcast.
	Payload []byte
	// Form is the codec's record of the form of the request, so that the response can have the same form. The core
	// only copies it.
	Form uint8
	// Native means that the requester is a Crossroom node, and so understands NotFound and other extensions.
	Native bool
}

// Response is one response of one node. OpBroadcast has several: one with Count set and Ack false, and one with Ack
// true for each acknowledging member.
type Response struct {
	// Request is set for encoding: the request of this response. For decoding, the core finds it by RequestID.
	Request *Request
	// RequestID matches the response to the request. It is empty if the response has none, as from a peer that misread
	// the request.
	RequestID string
	// Node is the responding Crossroom node's id; empty for other peers.
	Node string
	// Members of OpMembers; nil from a foreign peer that sent no list.
	Members []MemberInfo
	// Rooms of OpRooms and OpRoomsOf; nil from a foreign peer that sent no list.
	Rooms []string
	// NotFound means that this node does not have the member (ByID operations).
	NotFound bool
	// Count is how many members a selector operation changed, how many CountOnly counted, or how many acknowledgements of OpBroadcast will come
	// from this node. It is negative from a foreign peer that sent none.
	Count int
	// Ack means that this is one member's acknowledgement; Payload has its value.
	Ack bool
	// Payload of OpCustom and OpEvent responses and of acknowledgements; nil if the response has no value.
	Payload []byte
	// Err is the text of the responding application's error; empty if there is none.
	Err string
	// Busy means that the node had too many requests and did nothing. Err says so too, for peers that only read text.
	Busy bool
	// More means that these are some of the node's Members or Rooms; the others are in later responses. Only Native
	// requests get such responses.
	More bool
	// Rest means that more follows the page that this response ends.
	Rest bool
	// Ask means that this is no response: Payload is the encoded request of Node, for the receiver alone.
	Ask    bool
	Header Header
	// Brief, of a response to OpMembers with Detail, says how much of the members' data is omitted so that the list
	// fits into one message: the larger, the more, up to MaxBrief, which omits everything.
	Brief uint8
}

// MaxBrief is the largest Response.Brief.
const MaxBrief = 3

// MemberInfo describes a member of some node, as backplane.MemberInfo does.
type MemberInfo struct {
	ID string
	// Node that has the member; empty if the node did not send its id.
	Node string
	// Rooms of the member, including that of its own id, in no order. Nil unless requested.
	Rooms []string
	// Data is the result of the member's Describe, in the codec's encoding. Nil unless requested, or if the member has
	// none.
	Data []byte
}

// Lacks reports whether a foreign peer's response lacks the requested data. Then it does not count as that peer's
// response.
func (r *Response) Lacks(op Op) bool {
	if r.Node != "" || r.Ack {
		return false
	}
	switch op {
	case OpMembers:
		return r.Members == nil
	case OpRooms:
		return r.Rooms == nil
	case OpRoomsOf: // sent as OpMembers where the wire has nothing better
		return r.Rooms == nil && r.Members == nil
	case OpBroadcast:
		return r.Count < 0
	}
	return false
}
