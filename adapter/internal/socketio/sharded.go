package socketio

import (
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// The wire of the sharded adapter [PROTOCOL 9]. Every message is a map of type, data, uid and nsp: msgpack if a type
// that may hold binary data does, else JSON. Requests are on the channel of the namespace's broadcasts, and responses on
// the channel of a room with the requester's uid as its name.
//
// What only Crossroom nodes read is at the top level: the trace headers, and the object "crossroom". Node.js servers
// respond neither to joins, leaves and disconnects nor to types that they do not know.

// Types of messages of the sharded adapter.
const (
	shardBroadcast     = 3
	shardJoin          = 4
	shardLeave         = 5
	shardDisconnect    = 6
	shardFetch         = 7
	shardFetched       = 8
	shardEvent         = 9
	shardEventReply    = 10
	shardClientCount   = 11
	shardAck           = 12
	shardLastHeartbeat = 13 // 1, 2 and 13 are heartbeats and goodbyes, which this adapter does not send
)

// typeResponse is the type of responses that only Crossroom nodes read.
const typeResponse = "crossroom:response"

// Mode is where a sharded adapter publishes a broadcast to one room. Receivers listen for all modes.
type Mode uint8

const (
	// Classic: this is no sharded adapter.
	Classic Mode = iota
	// ShardDynamic publishes to the room's channel, unless the room's name has 20 characters, like ids of sockets.
	ShardDynamic
	// ShardStatic publishes all on the namespace's channel.
	ShardStatic
	// ShardPrivate publishes to the room's channel, also if that is a socket's own.
	ShardPrivate
)

func (c *Codec) sharded() bool { return c.opts.Mode != Classic }

// shardChannel returns the channel of a broadcast, like computeChannel of the sharded adapter.
func (c *Codec) shardChannel(ns string, b *wire.Broadcast) broker.Channel {
	if len(b.Rooms) == 1 && (c.opts.Mode == ShardPrivate || c.opts.Mode == ShardDynamic && length16(b.Rooms[0]) != 20) {
		if _, both := c.asNumber(b.Rooms[0]); !both {
			return broker.SocketIO.Room(ns, b.Rooms[0])
		}
	}
	return broker.SocketIO.Broadcast(ns)
}

// length16 is the length of a text in JavaScript.
func length16(s string) (n int) {
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// shardHead begins a message in JSON; shardTail completes it.
func shardHead(dst []byte, typ int) *object {
	o := newObject(dst)
	o.int("type", typ)
	o.open("data")
	return o
}

func shardTail(o *object, uid, ns string, x *extension) []byte {
	o.close()
	o.text("uid", uid)
	o.text("nsp", ns)
	x.writeJSON(o)
	return o.end()
}

// shardPackHead begins a message in msgpack, whose data has so many keys; shardPackTail completes it.
func shardPackHead(dst []byte, typ int, x *extension, keys int) []byte {
	dst = msgpack.AppendMapLen(dst, 4+x.keys())
	dst = msgpack.AppendInt(msgpack.AppendString(dst, "type"), int64(typ))
	return msgpack.AppendMapLen(msgpack.AppendString(dst, "data"), keys)
}

func shardPackTail(dst []byte, uid, ns string, x *extension) []byte {
	return x.appendMsgpack(appendText(appendText(dst, "uid", uid), "nsp", ns))
}

// appendShardBroadcast appends a broadcast, or with an id a request for acknowledgements.
func (c *Codec) appendShardBroadcast(dst []byte, message, ns string, b *wire.Broadcast, id string, r *wire.Request) ([]byte, error) {
	data, traits, err := c.checkBroadcast(message, ns, b)
	if err != nil {
		return dst, err
	}
	x := extension{header: b.Header, relay: b.Relay}
	opts := *b
	opts.Header, opts.Relay = nil, ""
	if r != nil {
		x.native = r.Native
	}
	if traits&msgpack.HasBinary != 0 {
		keys := 2
		if r != nil {
			keys++
		}
		out := shardPackHead(dst, shardBroadcast, &x, keys)
		out = msgpack.AppendMapLen(msgpack.AppendString(out, "packet"), 2)
		out = msgpack.AppendInt(msgpack.AppendString(out, "type"), packetEvent)
		out = append(msgpack.AppendString(out, "data"), data...)
		out = msgpack.AppendString(out, "opts")
		if r != nil {
			out = out[:len(out)-len("\xa4opts")]
			out = msgpack.AppendString(appendText(out, "requestId", id), "opts")
			out = c.appendOpts(out, &opts, r.Timeout)
		} else {
			out = c.appendOpts(out, &opts, 0)
		}
		return shardPackTail(out, b.Origin, ns, &x), nil
	}
	o := shardHead(dst, shardBroadcast)
	o.open("packet")
	o.int("type", packetEvent)
	o.key("data")
	if o.dst, err = msgpack.AppendJSON(o.dst, data, nil); err != nil {
		return dst, &MessageError{Message: message, Reason: "payload", Err: err}
	}
	o.close()
	if r != nil {
		o.text("requestId", id)
	}
	c.shardOpts(o, b.Rooms, b.Except, func() {
		if b.Flags&wire.Volatile != 0 {
			o.bool("volatile", true)
		}
		if b.Flags&wire.NoCompress != 0 {
			o.bool("compress", false)
		}
		if r != nil && r.Timeout > 0 {
			o.int("timeout", int(milliseconds(r.Timeout)))
		}
	})
	return shardTail(o, b.Origin, ns, &x), nil
}

func (c *Codec) shardOpts(o *object, rooms, except []string, flags func()) {
	o.open("opts")
	o.rooms(c, "rooms", rooms)
	o.rooms(c, "except", except)
	o.open("flags")
	if flags != nil {
		flags()
	}
	o.close()
	o.close()
}

// appendShardRequest appends a request. AppendRequest has checked its names.
func (c *Codec) appendShardRequest(dst []byte, ns string, r *wire.Request) ([]byte, error) {
	x := extension{native: r.Native, page: r.Page, after: r.After, header: r.Header}
	rooms, except := r.Rooms, r.Except
	if r.ByID || r.Op == wire.OpRoomsOf {
		// The socket is in the room of its own id, and its object lists its rooms.
		rooms, except = []string{r.Member}, nil
	}
	switch r.Op {
	case wire.OpBroadcast:
		b := wire.Broadcast{Origin: r.Origin, Rooms: r.Rooms, Except: r.Except, Flags: r.Flags, Payload: r.Payload, Header: r.Header}
		return c.appendShardBroadcast(dst, "request", ns, &b, r.ID, r)
	case wire.OpMembers, wire.OpRoomsOf, wire.OpRooms:
		// There is no request for all rooms: the sockets' objects list them.
		x.ids, x.rooms = r.Native && r.Op == wire.OpMembers && !r.Detail, r.Native && r.Op == wire.OpRooms
		o := shardHead(dst, shardFetch)
		c.shardOpts(o, rooms, except, nil)
		o.text("requestId", r.ID)
		return shardTail(o, r.Origin, ns, &x), nil
	case wire.OpJoin, wire.OpLeave, wire.OpDisconnect:
		if r.Native && !r.NoReply {
			x.id, x.byID = r.ID, r.ByID
		}
		o := shardHead(dst, shardJoin+int(r.Op-wire.OpJoin))
		c.shardOpts(o, rooms, except, nil)
		switch r.Op {
		case wire.OpDisconnect:
			o.bool("close", r.Close)
		case wire.OpLeave: // it may have been joined as a number
			o.rooms(c, "rooms", r.Targets)
		default:
			o.texts("rooms", r.Targets)
		}
		return shardTail(o, r.Origin, ns, &x), nil
	case wire.OpEvent:
		if err := c.CheckServerEvent(r.Payload); err != nil {
			return nil, err
		}
		o := shardHead(dst, shardEvent)
		if !r.NoReply && r.ID != "" {
			o.text("requestId", r.ID)
		}
		o.raw("packet", r.Payload)
		return shardTail(o, r.Origin, ns, &x), nil
	case wire.OpCustom:
		data, err := checkJSON("request", r.Payload)
		if err != nil {
			return nil, err
		}
		o := newObject(dst)
		o.text("type", typeCustom)
		o.open("data")
		o.text("requestId", r.ID)
		o.raw("packet", data)
		return shardTail(o, r.Origin, ns, &x), nil
	}
	return nil, unsupported(c.opts.Dialect, r)
}

// appendShardResponse appends a response. x has what a Crossroom node reads.
func (c *Codec) appendShardResponse(dst []byte, ns string, r *wire.Response, x *extension) ([]byte, error) {
	q := r.Request
	if r.Ack {
		return c.appendShardAck(dst, ns, r, x)
	}
	o := newObject(dst)
	if r.Ask {
		o.text("type", typeResponse)
		o.open("data")
		writeID(o, "requestId", q)
		return shardTail(o, r.Node, ns, x), nil
	}
	switch q.Op {
	case wire.OpMembers, wire.OpRoomsOf, wire.OpRooms:
		o.int("type", shardFetched)
	case wire.OpEvent:
		o.int("type", shardEventReply)
	case wire.OpBroadcast:
		o.int("type", shardClientCount)
	default: // only for Crossroom nodes
		o.text("type", typeResponse)
	}
	o.open("data")
	writeID(o, "requestId", q)
	var err error
	switch q.Op {
	case wire.OpMembers:
		if q.Form&formIDs != 0 {
			err = writeIDs(o, "sockets", r.Members)
		} else {
			err = writeSockets(o, r)
		}
	case wire.OpRooms:
		o.texts("rooms", r.Rooms)
	case wire.OpEvent, wire.OpCustom:
		if r.Payload == nil {
			break
		}
		var data []byte
		if data, err = checkJSON("response", r.Payload); err == nil {
			o.raw("packet", data)
		}
	case wire.OpBroadcast:
		o.int("clientCount", r.Count)
	}
	if err != nil {
		return nil, err
	}
	return shardTail(o, r.Node, ns, x), nil
}

// appendShardAck appends one acknowledgement.
func (c *Codec) appendShardAck(dst []byte, ns string, r *wire.Response, x *extension) ([]byte, error) {
	var packet []byte
	var traits msgpack.Traits
	if r.Err == "" && r.Payload != nil {
		var err error
		if packet, traits, err = checkPayload("response", r.Payload, 2); err != nil {
			return nil, err
		}
		if harm := c.harmful(traits, false); harm != 0 && !r.Request.Native {
			return nil, harmError(packet, harm, false)
		}
	}
	q := r.Request
	if traits&msgpack.HasBinary == 0 {
		o := shardHead(dst, shardAck)
		writeID(o, "requestId", q)
		if packet != nil {
			o.key("packet")
			var err error
			if o.dst, err = msgpack.AppendJSON(o.dst, packet, nil); err != nil {
				return nil, &MessageError{Message: "response", Reason: "payload", Err: err}
			}
		}
		return shardTail(o, r.Node, ns, x), nil
	}
	dst = shardPackHead(dst, shardAck, x, 2)
	if q.Form&formRawID == 0 {
		dst = appendText(dst, "requestId", q.ID)
	} else if id, err := msgpack.FromJSON(msgpack.AppendString(dst, "requestId"), []byte(q.ID)); err != nil {
		return nil, err
	} else {
		dst = id
	}
	dst = append(msgpack.AppendString(dst, "packet"), packet...)
	return shardPackTail(dst, r.Node, ns, x), nil
}

// expectSharded is Expect for the sharded adapter: every server responds to queries, events and broadcasts with
// acknowledgements, and none to changes.
func expectSharded(r *wire.Request, p wire.Unannounced) wire.Expected {
	switch r.Op {
	case wire.OpMembers, wire.OpRoomsOf, wire.OpRooms, wire.OpEvent, wire.OpBroadcast:
		return wire.Expected{Answers: p.Total}
	case wire.OpJoin, wire.OpLeave, wire.OpDisconnect:
		if r.ByID {
			return wire.Expected{Answers: 1, FirstOnly: true, Unconfirmed: true}
		}
	}
	return wire.Expected{Silent: p.Total}
}
