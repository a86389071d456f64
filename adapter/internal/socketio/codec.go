// Package socketio encodes and decodes the Redis wire of socket.io-redis and
// @socket.io/redis-adapter: the form of broadcasts, requests and responses, the rooms and
// namespaces in them, and what JavaScript makes of their content. It refuses content that
// harms a generation of servers. It knows no node and no socket.
//
// In short:
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
//	Payload of their responses           JSON; nil if there is none
//	MemberInfo.Data                      JSON: an object with handshake and data, or one of them
//
// # Keys of Crossroom
//
// Node.js servers ignore unknown keys in opts and at the top level of requests and
// responses, and do not pass them on. Crossroom adds these keys there:
//
//	traceparent, tracestate, baggage   strings: the Header entries of these names
//	crossroom                          an object, see extension.go
//
// A broadcast carries a key only if it has a value for it. It never carries Seq: nothing
// on this wire uses it, and it would cost bytes in every message.
package socketio

import (
	"cmp"
	"strconv"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Codec implements wire.Codec. It is safe for concurrent use.
type Codec struct {
	opts Options
	// binary5: see UseBinary5.
	binary5 atomic.Bool
	// only5 is the number of foreign peers at the time when all of them were found to be
	// v5; -1 if that is not known.
	only5  atomic.Int64
	seen   generationClock
	unlike atomic.Pointer[Unlike] // nil until it is known
}

// Options of a Codec.
type Options struct {
	// Dialect of the requests that the codec writes.
	Dialect Dialect
	// Mode of a sharded adapter; Classic for any other.
	Mode Mode
	// OnlyCrossroom is that capability of the broker: no Node.js server can receive content.
	OnlyCrossroom bool
	// MaxAttachments is how many binary values an event may have where Node.js servers can
	// be. Zero: DefaultMaxAttachments. Negative: no limit.
	MaxAttachments int
}

// DefaultMaxAttachments is how many binary values clients accept by default (socket.io-parser 3.3.6 and 4.2.7).
const DefaultMaxAttachments = 10

// Dialect is the generation of servers that a Codec addresses. It understands all.
type Dialect uint8

const (
	// V6 is the dialect of socket.io-redis 6 and @socket.io/redis-adapter 7 and 8.
	V6 Dialect = iota
	// V5 is the dialect of socket.io-redis 5.
	V5
)

// String returns "v6" or "v5".
func (d Dialect) String() string {
	switch d {
	case V6:
		return "v6"
	case V5:
		return "v5"
	}
	return "dialect(" + strconv.Itoa(int(d)) + ")"
}

// EmitterUID is the uid of emitters; no server has it.
const EmitterUID = "emitter"

var _ wire.Codec = (*Codec)(nil)

// New returns a codec. It makes no broadcasts with binary packets of v5 (UseBinary5).
func New(o Options) *Codec {
	o.MaxAttachments = cmp.Or(o.MaxAttachments, DefaultMaxAttachments)
	c := &Codec{opts: o}
	c.seen.misread = make(chan struct{}, 1)
	c.only5.Store(-1)
	return c
}

// Dialect returns Options.Dialect.
func (c *Codec) Dialect() Dialect { return c.opts.Dialect }

// UseBinary5 sets whether V5 broadcasts with binary data are packets of type 5, as servers
// of that generation send them. Clients of later servers on the same prefix disconnect at
// such packets. Without them the clients of v5 get binary data in its JSON form.
func (c *Codec) UseBinary5(on bool) { c.binary5.Store(on) }

// UsesBinary5 returns what UseBinary5 last set.
func (c *Codec) UsesBinary5() bool { return c.binary5.Load() }

// AllV5 records that all foreign peers were v5 when their number was total.
func (c *Codec) AllV5(total int) { c.only5.Store(int64(total)) }

// Unlike counts the foreign peers that do not respond to all requests of V6.
type Unlike struct {
	// The foreign peers that were counted.
	wire.Unannounced
	// Old is the number of peers of 6.0 and before, which lack the requests of 6.1. Deaf is
	// the number of those among them, 5.4 and before, that do not respond to V6 at all.
	Old, Deaf int
}

// SetUnlike sets what is known about the foreign peers, or nil if nothing is known. The
// caller may not change *u afterwards.
func (c *Codec) SetUnlike(u *Unlike) { c.unlike.Store(u) }

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

// Request types from v6 on, and the types of responses that have one [PROTOCOL 6, 7].
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

// typeCustom is the type of OpCustom in V6, which only Crossroom nodes know. Every version
// ignores unknown types.
const typeCustom = "crossroom:custom"

// Bits of Request.Form: the form of a request, which decides the form of its response.
const (
	formV5     = 1 << iota // requestid
	formShared             // v6 and later without uid: respond on the shared channel
	formIDs                // respond with bare ids, not with objects
	formRawID              // the request's id is not text: Request.ID is its JSON
)

// Protocol implements wire.Codec.
func (c *Codec) Protocol() broker.Protocol { return broker.SocketIO }

// Hello implements wire.Codec: "socket.io/v6", "socket.io/v5" or "socket.io/sharded".
func (c *Codec) Hello() string {
	if c.sharded() {
		return "socket.io/sharded"
	}
	return "socket.io/" + c.opts.Dialect.String()
}

// BroadcastChannel implements wire.Codec. A broadcast to exactly one room uses the room's
// channel. In V6, a room whose name is a number is the exception: it is sent in both forms,
// as text and as number, and v6 drops messages on the channel of a room that exists only as
// a number [PROTOCOL 4].
func (c *Codec) BroadcastChannel(ns string, b *wire.Broadcast) broker.Channel {
	if c.sharded() {
		return c.shardChannel(ns, b)
	}
	if len(b.Rooms) == 1 {
		if _, both := c.asNumber(b.Rooms[0]); !both {
			return broker.SocketIO.Room(ns, b.Rooms[0])
		}
	}
	if len(b.Rooms) == 0 && len(b.All) > 0 { // no selected socket is outside of any of them
		return broker.SocketIO.Room(ns, b.All[0])
	}
	return broker.SocketIO.Broadcast(ns)
}

// ResponseChannel implements wire.Codec. A requester that states its uid subscribes to a
// channel of its own; msgpack on the shared channel would crash processes of v5, v6 and 7.0.
// Responses to server-side emits always use the shared channel [PROTOCOL 6, 7].
func (c *Codec) ResponseChannel(ns string, r *wire.Response) broker.Channel {
	q := r.Request
	if c.sharded() {
		return broker.SocketIO.NodeResponses(ns, q.Origin)
	}
	if q.Form&(formV5|formShared) != 0 || q.Origin == "" || q.Op == wire.OpEvent {
		return broker.SocketIO.Responses(ns)
	}
	return broker.SocketIO.NodeResponses(ns, q.Origin)
}

// maxSafe is the largest integer that is a room name of its own in JavaScript.
const maxSafe = 1<<53 - 1

// asNumber reports whether a room must be sent as a number too. For servers from v6 on,
// the room 42 and the room "42" differ, and a Go string does not say which one is meant.
func (c *Codec) asNumber(room string) (n int64, both bool) {
	if c.opts.Dialect == V5 {
		return 0, false
	}
	return safeInteger(room)
}

// safeInteger returns the integer whose JavaScript text is s, if it is one that
// JavaScript represents exactly: "42" and "-7", but not "042", "+1" or "-0".
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
