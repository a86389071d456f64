package socketio

import (
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// AppendRequest implements wire.Codec. Every version can read the result without harm,
// where Expect allows the request.
//
// Operations by id carry exactly one of Targets. In V6, operations with a selector carry no
// request id for Node.js servers, which do not respond to them; Crossroom nodes read it
// from the extension.
func (c *Codec) AppendRequest(dst []byte, ns string, r *wire.Request) ([]byte, error) {
	own := [...]string{ns, r.ID, r.Origin, r.Member, r.After}
	if err := checkText("request", own[:], r.Rooms, r.All, r.Except, r.Targets); err != nil {
		return dst, err
	}
	if err := c.carries("request", r.All); err != nil {
		return dst, err
	}
	if err := checkHeader("request", r.Header); err != nil {
		return dst, err
	}
	if err := c.checkMember(r); err != nil {
		return dst, err
	}
	if r.Op == wire.OpJoin {
		if err := c.CheckJoin(r.Targets); err != nil {
			return dst, err
		}
	}
	out, err := dst, error(nil)
	switch {
	case c.sharded():
		out, err = c.appendShardRequest(dst, ns, r)
	case r.Op == wire.OpBroadcast && c.opts.Dialect == V6:
		out, err = c.appendAckRequest(dst, ns, r)
	case c.opts.Dialect == V5:
		out, err = c.appendRequest5(dst, r)
	default:
		out, err = c.appendRequest6(dst, r)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// appendRequest5 writes the requests of v5 [PROTOCOL 5].
func (c *Codec) appendRequest5(dst []byte, r *wire.Request) ([]byte, error) {
	o := newObject(dst)
	x := extension{native: r.Native, sum: r.CountOnly, page: r.Page, after: r.After, header: r.Header}
	if r.Native {
		x.node = r.Origin
	}
	begin := func(typ int) {
		o.text("requestid", r.ID)
		o.int("type", typ)
	}
	switch {
	case r.Op == wire.OpMembers && len(r.Except) == 0 && !r.Detail:
		begin(v5Clients)
		o.texts("rooms", r.Rooms)
	case r.Op == wire.OpRooms:
		begin(v5AllRooms)
	case r.Op == wire.OpRoomsOf:
		begin(v5ClientRooms)
		o.text("sid", r.Member)
	case (r.Op == wire.OpJoin || r.Op == wire.OpLeave) && r.ByID:
		if len(r.Targets) != 1 {
			return nil, errOneRoom(r)
		}
		begin(v5RemoteJoin + int(r.Op-wire.OpJoin))
		o.text("sid", r.Member)
		o.text("room", r.Targets[0])
	case r.Op == wire.OpDisconnect && r.ByID:
		begin(v5RemoteDisconnect)
		o.text("sid", r.Member)
		o.bool("close", r.Close)
	case r.Op == wire.OpCustom:
		data, err := checkJSON("request", r.Payload)
		if err != nil {
			return nil, err
		}
		begin(v5Custom)
		o.raw("data", data)
	default:
		return nil, unsupported(c.opts.Dialect, r)
	}
	x.writeJSON(o)
	return o.end(), nil
}

// appendRequest6 writes the JSON requests of v6 to v8, in the order of v8's keys
// [PROTOCOL 6].
func (c *Codec) appendRequest6(dst []byte, r *wire.Request) ([]byte, error) {
	o := newObject(dst)
	x := extension{native: r.Native, sum: r.CountOnly, page: r.Page, after: r.After, all: r.All, header: r.Header}
	begin := func(typ int, id bool) {
		if r.Origin != "" {
			o.text("uid", r.Origin)
		}
		if id {
			o.text("requestId", r.ID)
		}
		o.int("type", typ)
	}
	switch r.Op {
	case wire.OpMembers:
		if !r.Detail && len(r.Except) == 0 && len(r.All) == 0 {
			begin(v6Sockets, true) // 6.0 knows only this one
			o.rooms(c, "rooms", r.Rooms)
			break
		}
		begin(v6FetchSockets, true)
		c.selector(o, r.Rooms, r.Except)
		x.ids = r.Native && !r.Detail
	case wire.OpRoomsOf:
		// The socket is in the room of its own id, and its object lists its rooms.
		member := [...]string{r.Member}
		begin(v6FetchSockets, true)
		c.selector(o, member[:], nil)
	case wire.OpRooms:
		begin(v6AllRooms, true)
	case wire.OpJoin, wire.OpLeave, wire.OpDisconnect:
		typ := v6Join + int(r.Op-wire.OpJoin)
		begin(typ, r.ByID)
		if !r.ByID {
			c.selector(o, r.Rooms, r.Except)
			if r.Native && !r.NoReply {
				x.id = r.ID
			}
		} else {
			o.text("sid", r.Member)
		}
		if err := c.writeTargets(o, r); err != nil {
			return nil, err
		}
	case wire.OpEvent:
		if err := c.CheckServerEvent(r.Payload); err != nil {
			return nil, err
		}
		begin(v6ServerSideEmit, !r.NoReply && r.ID != "")
		o.raw("data", r.Payload)
	case wire.OpCustom:
		data, err := checkJSON("request", r.Payload)
		if err != nil {
			return nil, err
		}
		if r.Origin != "" {
			o.text("uid", r.Origin)
		}
		o.text("requestId", r.ID)
		o.text("type", typeCustom)
		o.raw("data", data)
	default:
		return nil, unsupported(c.opts.Dialect, r)
	}
	x.writeJSON(o)
	return o.end(), nil
}

// selector writes opts of requests.
func (c *Codec) selector(o *object, rooms, except []string) {
	o.open("opts")
	o.rooms(c, "rooms", rooms)
	o.rooms(c, "except", except)
	o.close()
}

// writeTargets writes the rooms of OpJoin and OpLeave, or Close of OpDisconnect. A room to
// leave is sent in both forms because it may have been joined as a number; a room to join is
// sent once.
func (c *Codec) writeTargets(o *object, r *wire.Request) error {
	switch {
	case r.Op == wire.OpDisconnect:
		o.bool("close", r.Close)
	case r.ByID && len(r.Targets) != 1:
		return errOneRoom(r)
	case r.ByID:
		o.text("room", r.Targets[0])
	case r.Op == wire.OpLeave:
		o.rooms(c, "rooms", r.Targets)
	default:
		o.texts("rooms", r.Targets)
	}
	return nil
}

func errOneRoom(r *wire.Request) error {
	return &MessageError{Message: "request", Reason: fmt.Sprintf("%s by id of %d rooms, not one", r.Op, len(r.Targets))}
}

func unsupported(d Dialect, r *wire.Request) error {
	return fmt.Errorf("adapter: dialect %s has no %s of this kind: %w", d, r.Op, errors.ErrUnsupported)
}

// checkJSON checks the payload of OpCustom or of a response; nil becomes null.
func checkJSON(message string, payload []byte) ([]byte, error) {
	if payload == nil {
		return []byte("null"), nil
	}
	if _, err := parseAt(1, message, payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// parseAt checks JSON at depth levels inside a message.
func parseAt(depth int, message string, payload []byte) (jsonscan.Value, error) {
	v, err := jsonscan.ParseWithin(payload, jsonscan.MaxDepth-depth)
	if err != nil {
		return v, &MessageError{Message: message, Reason: "payload", Err: err}
	}
	return v, nil
}

// CheckServerEvent refuses a payload of OpEvent without data and an event named "error".
// Servers from 7.0 on crash on the first, and on the second unless the application listens
// to it.
func (c *Codec) CheckServerEvent(payload []byte) error {
	v, err := parseAt(1, "request", payload)
	if err != nil {
		return err
	}
	for first := range v.Elements() {
		if first.Kind() == jsonscan.String {
			if event := first.Text(); event == "error" && !c.opts.OnlyCrossroom {
				return errReservedName(event)
			}
			return nil
		}
		break
	}
	return &MessageError{Message: "request", Reason: "payload is not an array of event name and arguments"}
}

// appendAckRequest writes a broadcast with acknowledgements, request 7 [PROTOCOL 7], as
// JSON: older versions ignore it in that form, and would crash on msgpack [PROTOCOL 12,
// rule 5]. With binary data it has to be msgpack.
func (c *Codec) appendAckRequest(dst []byte, ns string, r *wire.Request) ([]byte, error) {
	b := wire.Broadcast{Origin: r.Origin, Rooms: r.Rooms, All: r.All, Except: r.Except, Flags: r.Flags, Payload: r.Payload}
	data, traits, err := c.checkBroadcast("request", ns, &b)
	if err != nil {
		return nil, err
	}
	b.Payload = data
	if traits&msgpack.HasBinary != 0 {
		return c.appendAckRequestMsgpack(dst, ns, r, &b), nil
	}
	o := newObject(dst)
	if r.Origin != "" {
		o.text("uid", r.Origin)
	}
	o.text("requestId", r.ID)
	o.int("type", v6Broadcast)
	o.open("packet")
	o.int("type", packetEvent)
	o.key("data")
	if o.dst, err = msgpack.AppendJSON(o.dst, data, nil); err != nil {
		return nil, &MessageError{Message: "request", Reason: "payload", Err: err}
	}
	o.text("nsp", ns)
	o.close()
	o.open("opts")
	o.rooms(c, "rooms", r.Rooms)
	o.rooms(c, "except", r.Except)
	o.open("flags")
	if r.Flags&wire.Volatile != 0 {
		o.bool("volatile", true)
	}
	if r.Flags&wire.NoCompress != 0 {
		o.bool("compress", false)
	}
	if r.Timeout > 0 {
		o.int("timeout", int(milliseconds(r.Timeout)))
	}
	o.close()
	o.close()
	x := extension{native: r.Native, all: r.All, header: r.Header}
	x.writeJSON(o)
	return o.end(), nil
}

func (c *Codec) appendAckRequestMsgpack(dst []byte, ns string, r *wire.Request, b *wire.Broadcast) []byte {
	x := extension{native: r.Native, header: r.Header}
	keys := 4 + x.keys()
	if r.Origin != "" {
		keys++
	}
	dst = msgpack.AppendMapLen(dst, keys)
	if r.Origin != "" {
		dst = appendText(dst, "uid", r.Origin)
	}
	dst = appendText(dst, "requestId", r.ID)
	dst = msgpack.AppendInt(msgpack.AppendString(dst, "type"), v6Broadcast)
	dst = appendPacket(msgpack.AppendString(dst, "packet"), ns, packetEvent, b.Payload)
	dst = c.appendOpts(msgpack.AppendString(dst, "opts"), b, r.Timeout)
	return x.appendMsgpack(dst)
}
