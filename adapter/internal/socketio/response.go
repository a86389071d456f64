package socketio

import (
	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// AppendResponse implements wire.Codec. The response has the dialect of the request
// [PROTOCOL 5, 6, 7], and the extension if a Crossroom node sent the request.
//
// The result is empty where a Node.js server would not respond: it does not have the socket,
// or the request has no id. A foreign requester cannot read an error. If this node failed,
// a request for a value gets a response without a value, as from a callback that gave none.
// A request for a list gets no response, because an empty list would be wrong.
func (c *Codec) AppendResponse(dst []byte, ns string, r *wire.Response) ([]byte, error) {
	out, err := dst, error(nil)
	if q := r.Request; q.Native || !r.NotFound && (r.Err == "" || valued(r)) {
		out, err = c.appendResponse(dst, ns, r)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// valued reports whether a requester of any version accepts the response without a value.
func valued(r *wire.Response) bool {
	return r.Ack || r.Request.Op == wire.OpCustom || r.Request.Op == wire.OpEvent
}

func (c *Codec) appendResponse(dst []byte, ns string, r *wire.Response) ([]byte, error) {
	q := r.Request
	if q.ID == "" {
		return dst, nil
	}
	own := [...]string{q.ID, r.Node, r.Err}
	if err := checkText("response", own[:], r.Rooms); err != nil {
		return nil, err
	}
	if err := checkHeader("response", r.Header); err != nil {
		return nil, err
	}
	x := extension{header: r.Header}
	if q.Native {
		x.native, x.node, x.notFound, x.err, x.busy, x.more = true, r.Node, r.NotFound, r.Err, r.Busy, r.More
		x.rest = r.Rest
		if q.Op != wire.OpBroadcast {
			x.count = r.Count
		}
	}
	if r.Ask {
		x.ask = string(r.Payload)
	}
	switch {
	case c.sharded():
		return c.appendShardResponse(dst, ns, r, &x)
	case r.Ask:
		o := newObject(dst)
		writeID(o, "requestId", q)
		x.writeJSON(o)
		return o.end(), nil
	case r.Ack:
		return c.appendAck(dst, r, &x)
	}
	o := newObject(dst)
	var err error
	if q.Form&formV5 != 0 {
		writeID(o, "requestid", q)
		err = writeResponse5(o, r)
	} else {
		err = writeResponse6(o, r)
	}
	if err != nil {
		return nil, err
	}
	x.writeJSON(o)
	return o.end(), nil
}

// writeID writes the id of the request unchanged.
func writeID(o *object, key string, q *wire.Request) {
	if q.Form&formRawID != 0 {
		o.raw(key, []byte(q.ID))
	} else {
		o.text(key, q.ID)
	}
}

func writeResponse5(o *object, r *wire.Response) error {
	switch r.Request.Op {
	case wire.OpMembers:
		return writeIDs(o, "clients", r.Members)
	case wire.OpRooms, wire.OpRoomsOf:
		o.texts("rooms", r.Rooms)
	case wire.OpCustom:
		data, err := checkJSON("response", r.Payload)
		if err != nil {
			return err
		}
		o.raw("data", data)
	}
	return nil
}

func writeResponse6(o *object, r *wire.Response) error {
	q := r.Request
	switch q.Op {
	case wire.OpEvent:
		o.int("type", v6ServerSideEmit)
	case wire.OpBroadcast:
		o.int("type", v6ClientCount)
	}
	writeID(o, "requestId", q)
	switch q.Op {
	case wire.OpMembers:
		if q.Form&formIDs != 0 {
			return writeIDs(o, "sockets", r.Members)
		}
		return writeSockets(o, r)
	case wire.OpRooms, wire.OpRoomsOf:
		o.texts("rooms", r.Rooms)
	case wire.OpEvent, wire.OpCustom:
		if r.Payload == nil {
			return nil
		}
		data, err := checkJSON("response", r.Payload)
		if err != nil {
			return err
		}
		o.raw("data", data)
	case wire.OpBroadcast:
		o.int("clientCount", r.Count)
	}
	return nil
}

func writeIDs(o *object, key string, members []wire.MemberInfo) error {
	ids := make([]string, len(members))
	for i := range members {
		ids[i] = members[i].ID
	}
	if err := checkText("response", ids); err != nil {
		return err
	}
	o.texts(key, ids)
	return nil
}

// noHandshake is the handshake of a socket that has none. Node.js applications rely on these
// keys.
const noHandshake = `{"headers":{},"time":"","address":"","xdomain":false,"secure":false,"issued":0,"url":"","query":{},"auth":{}}`

// writeSockets writes the objects that fetchSockets returns. Crossroom nodes get only the
// keys that have a value.
func writeSockets(o *object, r *wire.Response) error {
	o.key("sockets")
	o.dst = append(o.dst, '[')
	for i := range r.Members {
		if i > 0 {
			o.dst = append(o.dst, ',')
		}
		if err := writeSocket(o, &r.Members[i], r.Request.Native, r.Brief); err != nil {
			return err
		}
	}
	o.dst = append(o.dst, ']')
	return nil
}

// Values of Response.Brief, and what each leaves out.
const (
	noHeaders    = 1 // of the handshake
	noConnection = 2 // the handshake
	noData       = 3 // the handshake and the application's data
)

func writeSocket(o *object, m *wire.MemberInfo, native bool, brief uint8) error {
	id := [...]string{m.ID}
	if err := checkText("response", id[:], m.Rooms); err != nil {
		return err
	}
	var handshake, data jsonscan.Value
	if m.Data != nil && brief < noData {
		v, err := parseAt(2, "response", m.Data)
		if err != nil {
			return err
		}
		data = v.Get("data")
		if brief < noConnection {
			handshake = v.Get("handshake")
		}
	}
	s := newObject(o.dst)
	s.text("id", m.ID)
	if handshake.Kind() == jsonscan.Object && brief >= noHeaders {
		writeBriefly(s, handshake)
	} else if handshake.Kind() == jsonscan.Object {
		s.raw("handshake", handshake.Raw())
	} else if !native {
		s.raw("handshake", []byte(noHandshake))
	}
	if m.Rooms != nil || !native {
		s.texts("rooms", m.Rooms)
	}
	if data.Kind() != jsonscan.None {
		s.raw("data", data.Raw())
	} else if !native {
		s.raw("data", []byte("{}"))
	}
	o.dst = s.end()
	return nil
}

// writeBriefly writes a handshake without its headers.
func writeBriefly(s *object, handshake jsonscan.Value) {
	s.open("handshake")
	for key, value := range handshake.Members() {
		if key != "headers" {
			s.raw(key, value.Raw())
		}
	}
	s.raw("headers", []byte("{}"))
	s.close()
}

// appendAck appends one acknowledgement, response 9, which is always msgpack. Without a
// value it has no packet. No value harms a Go node.
func (c *Codec) appendAck(dst []byte, r *wire.Response, x *extension) ([]byte, error) {
	keys, packet := 2+x.keys(), r.Payload
	if r.Err == "" && packet != nil {
		keys++
		var traits msgpack.Traits
		var err error
		if packet, traits, err = checkPayload("response", packet, 1); err != nil {
			return nil, err
		}
		if harm := c.harmful(traits, false); harm != 0 && !r.Request.Native {
			return nil, harmError(packet, harm, false)
		}
	}
	dst = msgpack.AppendMapLen(dst, keys)
	dst = msgpack.AppendInt(msgpack.AppendString(dst, "type"), v6Ack)
	if q := r.Request; q.Form&formRawID == 0 {
		dst = appendText(dst, "requestId", q.ID)
	} else if id, err := msgpack.FromJSON(msgpack.AppendString(dst, "requestId"), []byte(q.ID)); err != nil {
		return nil, err
	} else {
		dst = id
	}
	if r.Err == "" && packet != nil {
		dst = append(msgpack.AppendString(dst, "packet"), packet...)
	}
	return x.appendMsgpack(dst), nil
}
