package adapter

import (
	"fmt"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// The codec speaks the Redis wire of socket.io-redis and @socket.io/redis-adapter. In
// short (codec_*.go have the details beside the code):
//
//	broadcast   msgpack  [uid, {type, data, nsp}, {rooms, except, flags}]
//	request     JSON     {requestid, type, …}              v5
//	                     {uid, requestId, type, …}         v6 and later; uid from 7.1 on
//	            msgpack  {uid, requestId, type: 7, …}      broadcast with acknowledgements
//	response    JSON     {requestid, …} or {requestId, …}
//	            msgpack  {type: 9, requestId, packet}      an acknowledgement
//
// The numbers of request types differ between v5 and the rest, but the key of the
// request id tells them apart: every v5 message has "requestid" and no other has.
//
// # What the core's fields hold on this wire
//
//	Payload of broadcasts, OpBroadcast   msgpack: the array of event name and arguments
//	Payload of acknowledgements          msgpack: one value; nil if there is none
//	Payload of OpEvent, OpCustom         JSON: [name, args…], or any value
//	Payload of their answers             JSON; nil if there is none
//	MemberInfo.Data                      JSON: an object with handshake and data, or one of them
//
// # What we add
//
// Node.js servers ignore keys that they do not know in opts and at the top level of
// requests and responses, and do not pass them on. There Crossroom puts:
//
//	traceparent, tracestate, baggage   strings: the Header entries of these names
//	crossroom                          an object, see codec_extra.go
//
// Broadcasts carry neither unless there is something to say, and never Seq: it would
// cost bytes in every message for a use that this wire does not have yet.
//
// A codec is safe for concurrent use.
type codec struct {
	dialect Dialect
	// binary5 makes V5 broadcasts with binary data packets of type 5, as servers of
	// that generation do. Clients of any later server on the same prefix are cut off
	// by them; without it v5's clients get such data in JSON form.
	binary5 atomic.Bool
	// only5 is how many servers other than Crossroom nodes were there when all of them
	// were found to be v5; -1 if that is not known.
	only5   atomic.Int64
	seen    sightings
	foreign atomic.Pointer[foreign] // nil until it is known
	// onlyCrossroom is the capability of the broker: no content can harm anybody.
	onlyCrossroom bool
	// maxAttachments is that option, with its default; negative: no limit.
	maxAttachments int
}

var _ wire.Codec = (*codec)(nil)

// newCodec returns a codec that asks in dialect d.
func newCodec(d Dialect) *codec {
	c := &codec{dialect: d, maxAttachments: DefaultMaxAttachments}
	c.seen.misread = make(chan struct{}, 1)
	c.only5.Store(-1)
	return c
}

// Packet types of Socket.IO's own protocol that broadcasts carry.
const (
	packetEvent       = 2
	packetBinaryEvent = 5
)

// Request types of v5 [PROTOCOL 5].
const (
	v5Clients = iota
	v5ClientRooms
	v5AllRooms
	v5RemoteJoin
	v5RemoteLeave
	v5Custom
	v5RemoteDisconnect
)

// Request types from v6 on, and the types of answers that have one [PROTOCOL 6, 7].
const (
	v6Sockets = iota
	v6AllRooms
	v6Join
	v6Leave
	v6Disconnect
	v6FetchSockets
	v6ServerSideEmit
	v6Broadcast
	v6ClientCount
	v6Ack
)

// typeCustom is the type of OpCustom in V8, which has no such request. Every version
// ignores types it does not know.
const typeCustom = "crossroom:custom"

// Bits of Request.Form: who asked how, and so how to answer.
const (
	formV5     = 1 << iota // requestid
	formShared             // v6 and later without uid: answer on the shared channel
	formIDs                // answer with bare ids where there are two ways
	formRawID              // the request's id is not text: Request.ID is its JSON
)

// MessageError says what is wrong with a message that came from Redis or that was to
// be sent there.
type MessageError struct {
	// Message is "broadcast", "request" or "response".
	Message string
	Reason  string
	// Err is the reader's error, or nil.
	Err error
}

func (e *MessageError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("adapter: %s: %s: %v", e.Message, e.Reason, e.Err)
	}
	return fmt.Sprintf("adapter: %s: %s", e.Message, e.Reason)
}

func (e *MessageError) Unwrap() error { return e.Err }

// Protocol implements wire.Codec.
func (c *codec) Protocol() broker.Protocol { return broker.SocketIO }

// Hello implements wire.Codec: "socket.io/v8" or "socket.io/v5".
func (c *codec) Hello() string { return "socket.io/" + c.dialect.String() }

// BroadcastChannel implements wire.Codec. A broadcast to exactly one room goes
// on the room's channel. Rooms that are numbers in writing are the exception in V8:
// they are sent in both forms, and v6 drops what comes on the channel of a room that
// only exists as a number [PROTOCOL 4].
func (c *codec) BroadcastChannel(ns string, b *wire.Broadcast) broker.Channel {
	if len(b.Rooms) == 1 {
		if _, both := c.asNumber(b.Rooms[0]); !both {
			return broker.SocketIO.Room(ns, b.Rooms[0])
		}
	}
	return broker.SocketIO.Broadcast(ns)
}

// ResponseChannel implements wire.Codec. Askers that say their uid listen on a
// channel of their own, and msgpack on the shared one would end v5, v6 and 7.0
// processes. Answers to server-side emits always go to the shared one [PROTOCOL 6, 7].
func (c *codec) ResponseChannel(ns string, r *wire.Response) broker.Channel {
	q := r.Request
	if q.Form&(formV5|formShared) != 0 || q.Origin == "" || q.Op == wire.OpEvent {
		return broker.SocketIO.Responses(ns)
	}
	return broker.SocketIO.NodeResponses(ns, q.Origin)
}

// maxSafe is the largest integer that is a room name of its own in JavaScript.
const maxSafe = 1<<53 - 1

// asNumber tells whether a room is to be sent as a number too: servers from v6 on
// tell the room 42 from the room "42", and we cannot know which of them is meant.
func (c *codec) asNumber(room string) (n int64, both bool) {
	if c.dialect == V5 {
		return 0, false
	}
	return safeInteger(room)
}

// safeInteger returns the integer that s is the JavaScript text of, if it is one that
// JavaScript holds exactly: "42" and "-7", but not "042", "+1" or "-0".
func safeInteger(s string) (n int64, ok bool) {
	digits := s
	if s != "" && s[0] == '-' {
		digits = s[1:]
	}
	if digits == "" || len(digits) > 16 || digits[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(digits) {
		d := digits[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	if len(digits) < len(s) {
		n = -n
	}
	return n, n <= maxSafe && n >= -maxSafe
}
