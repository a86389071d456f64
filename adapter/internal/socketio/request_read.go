package socketio

import (
	"errors"
	"math"
	"time"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// DecodeRequest implements wire.Codec. It reads every dialect, whichever one the codec
// writes, and sets r.Form to the form of the response.
func (c *Codec) DecodeRequest(payload []byte, ns string, r *wire.Request) error {
	*r = wire.Request{Rooms: r.Rooms[:0], All: r.All[:0], Except: r.Except[:0], Targets: r.Targets[:0]}
	read := c.readRequest
	if c.sharded() {
		read = c.readShardRequest
	}
	if err := read(payload, ns, r); err != nil {
		return badMessage("request", err)
	}
	return nil
}

var (
	errNoObject    = errors.New("not an object")
	errUnknownType = errors.New("unknown type")
	errNoSelector  = errors.New("neither opts nor sid")
	errNoRoom      = errors.New("no room")
	errNoData      = errors.New("no data")
	errNoID        = errors.New("no request id")
	errNoMember    = errors.New("a socket without an id")
)

// The decoder accepts what Node.js servers accept, by the rules of JavaScript [PROTOCOL 15]:
// 5.4.0 for messages with v5's key of the request id, and 8.3.0 for all others.

func (c *Codec) readRequest(payload []byte, ns string, r *wire.Request) error {
	v, packed, err := openMessage(payload, v6Broadcast, true)
	if err != nil {
		return err
	}
	if packed != nil {
		return c.readAckRequest(packed, ns, r)
	}
	m := readMessage(v, payload[0] == '{')
	r.Native, r.CountOnly = m.extra.native, m.extra.sum
	r.Page, r.After = m.extra.page, m.extra.after
	r.Header, r.HeaderDropped = m.extra.header, m.extra.dropped
	r.Origin = m.uid
	var raw bool
	if r.ID, raw = requestID(m.id); raw {
		r.Form |= formRawID
	}
	if m.v5 {
		r.Form, r.Origin = r.Form|formV5, m.extra.node
		err = m.request5(r)
	} else {
		if m.uid == "" {
			r.Form |= formShared
		}
		err = m.request6(r)
	}
	if err == nil && !m.extra.native && r.ID != "" {
		c.seen.note(m.generation())
	}
	return err
}

// requestID returns the id of a request. If the id is not text, raw is true and text is its
// JSON: servers return such an id unchanged.
func requestID(id jsonscan.Value) (text string, raw bool) {
	if text = id.Text(); text != "" || id.Kind() == jsonscan.None {
		return text, false
	}
	return string(id.Raw()), true
}

// openMessage distinguishes JSON from msgpack by the first byte, as 7.2 and later do
// [PROTOCOL 3], and returns a document in v. The message type that may hold binary data is
// returned as msgpack in packed instead, in whichever form it came, so that one function
// reads it. With v5 set, JSON with v5's key of the request id is returned in v: there the
// number is another type.
func openMessage(payload []byte, binaryType int64, v5 bool) (v jsonscan.Value, packed []byte, err error) {
	json := len(payload) > 0 && payload[0] == '{'
	text := payload
	if json {
		text = jsonscan.Valid(payload)
	} else {
		r := msgpack.NewReader(payload)
		if r.Kind() != msgpack.Map {
			return v, nil, errNoObject
		}
		typ, err := packedType(r)
		if err != nil {
			return v, nil, err
		}
		if typ == float64(binaryType) {
			return v, payload, nil
		}
		if text, err = msgpack.AppendJSON(nil, payload, nil); err != nil {
			return v, nil, err
		}
	}
	if v, err = jsonscan.Parse(text); err != nil {
		return v, nil, err
	}
	if v.Get("type").Is(binaryType) && !(v5 && json && v.Get("requestid").Kind() != jsonscan.None) {
		packed, err = msgpack.FromJSON(nil, text)
	}
	return v, packed, err
}

// packedType returns the type of a message without decoding the rest of it, or NaN if the
// type is not a number.
func packedType(r msgpack.Reader) (typ float64, err error) {
	typ = math.NaN()
	n, err := r.MapLen()
	if err != nil {
		return typ, err
	}
	for range n {
		key, err := r.Script()
		if err != nil {
			return typ, err
		}
		kind := r.Kind()
		switch {
		case key == "type" && (kind == msgpack.Int || kind == msgpack.Float):
			typ, err = r.Float()
		case key == "type":
			typ, err = math.NaN(), r.Skip()
		default:
			err = r.Skip()
		}
		if err != nil {
			return typ, err
		}
	}
	return typ, r.End()
}

// message holds the members of a request or response in JSON. If a key appears twice the
// last one counts, as in JavaScript.
type message struct {
	v5      bool
	uid     string
	id, typ jsonscan.Value
	// All other members of any type.
	sid, room, rooms, opts, closing, data jsonscan.Value
	sockets, clients, clientCount, packet jsonscan.Value
	extra                                 extension
}

// readMessage reads the members of a message. v5 sends only JSON.
func readMessage(v jsonscan.Value, json bool) (m message) {
	var id5, uid jsonscan.Value
	for key, value := range v.Members() {
		switch key {
		case "requestid":
			id5 = value
		case "requestId":
			m.id = value
		case "uid":
			uid = value
		case "type":
			m.typ = value
		case "sid":
			m.sid = value
		case "room":
			m.room = value
		case "rooms":
			m.rooms = value
		case "opts":
			m.opts = value
		case "close":
			m.closing = value
		case "data":
			m.data = value
		case "sockets":
			m.sockets = value
		case "clients":
			m.clients = value
		case "clientCount":
			m.clientCount = value
		case "packet":
			m.packet = value
		default:
			m.extra.readJSON(key, value)
		}
	}
	if m.v5 = json && id5.Kind() != jsonscan.None; m.v5 {
		m.id = id5
	}
	m.uid = uid.Text()
	return m
}

func (m *message) generation() generation {
	if m.v5 {
		return gen5
	}
	return gen6
}

// request5 reads the requests of v5 [PROTOCOL 5].
func (m *message) request5(r *wire.Request) error {
	switch {
	case m.typ.Is(v5Clients):
		r.Op, r.Form = wire.OpMembers, r.Form|formIDs
		r.Rooms = roomsOf5(m.rooms, r.Rooms)
	case m.typ.Is(v5ClientRooms):
		r.Op = wire.OpRoomsOf
		m.byID5(r)
	case m.typ.Is(v5AllRooms):
		r.Op = wire.OpRooms
	case m.typ.Is(v5RemoteJoin):
		r.Op = wire.OpJoin
		m.byID5(r)
		if m.room.Kind() == jsonscan.Array {
			r.Targets = textsOf(m.room, r.Targets)
		} else {
			r.Targets = append(r.Targets, textOf(m.room))
		}
	case m.typ.Is(v5RemoteLeave):
		r.Op = wire.OpLeave
		m.byID5(r)
		r.Targets = append(r.Targets, textOf(m.room))
	case m.typ.Is(v5RemoteDisconnect):
		r.Op, r.Close = wire.OpDisconnect, m.closing.Truthy()
		m.byID5(r)
	case m.typ.Is(v5Custom):
		r.Op, r.Payload = wire.OpCustom, m.data.Raw()
	default:
		return errUnknownType
	}
	return nil
}

func (m *message) byID5(r *wire.Request) { r.ByID, r.Member = true, textOf(m.sid) }

// request6 reads the requests of v6 to v8, emitters and Crossroom nodes [PROTOCOL 6], except
// broadcasts with acknowledgements.
func (m *message) request6(r *wire.Request) (err error) {
	if m.typ.Kind() == jsonscan.String && m.typ.Text() == typeCustom {
		r.Op, r.Payload = wire.OpCustom, m.data.Raw()
		return nil
	}
	switch {
	case m.typ.Is(v6Sockets):
		r.Op, r.Form = wire.OpMembers, r.Form|formIDs
		r.Rooms, err = roomsOf(m.rooms, r.Rooms)
	case m.typ.Is(v6AllRooms):
		r.Op = wire.OpRooms
	case m.typ.Is(v6Join):
		r.Op = wire.OpJoin
		err = m.changes(r)
	case m.typ.Is(v6Leave):
		r.Op = wire.OpLeave
		err = m.changes(r)
	case m.typ.Is(v6Disconnect):
		r.Op, r.Close = wire.OpDisconnect, m.closing.Truthy()
		err = m.changes(r)
	case m.typ.Is(v6FetchSockets):
		r.Op, r.Detail = wire.OpMembers, !m.extra.ids
		err = m.selects(r)
	case m.typ.Is(v6ServerSideEmit):
		r.Op, r.NoReply, r.Payload = wire.OpEvent, r.ID == "", m.data.Raw()
		for range m.data.Elements() {
			return nil
		}
		return errNoData
	default:
		return errUnknownType
	}
	return err
}

// changes reads join, leave and disconnect. A truthy opts selects the form with a filter.
func (m *message) changes(r *wire.Request) error {
	if !m.opts.Truthy() {
		return m.byID(r)
	}
	return m.filtered(r)
}

// filtered reads the form of join, leave and disconnect with a filter.
func (m *message) filtered(r *wire.Request) error {
	// Node.js servers neither send nor expect a response to this form. Crossroom nodes put
	// the request id into the extension.
	r.ID, r.Form = m.extra.id, r.Form&^formRawID
	switch {
	case r.Op == wire.OpJoin:
		r.Targets = joined(m.rooms, r.Targets)
	case r.Op == wire.OpLeave && m.rooms.Kind() != jsonscan.Array:
		return errNoRoom
	case r.Op == wire.OpLeave:
		r.Targets, _ = listOf(m.rooms, r.Targets)
	}
	return m.selects(r)
}

// joined appends the rooms that a socket is to join: one, or a list of them.
func joined(v jsonscan.Value, dst []string) []string {
	if v.Kind() == jsonscan.Array {
		dst, _ = listOf(v, dst)
	} else if name, ok := nameOf(v); ok {
		dst = append(dst, name)
	}
	return dst
}

// selects reads opts. Text, numbers and lists have neither rooms nor exceptions.
func (m *message) selects(r *wire.Request) (err error) {
	if m.opts.Missing() {
		return errNoSelector
	}
	var rooms, except jsonscan.Value
	for key, value := range m.opts.Members() {
		switch key {
		case "rooms":
			rooms = value
		case "except":
			except = value
		default:
			m.extra.readJSON(key, value) // trace headers may be here, too
		}
	}
	r.Header, r.HeaderDropped = m.extra.header, m.extra.dropped
	r.All = append(r.All, m.extra.all...)
	if r.Rooms, err = roomsOf(rooms, r.Rooms); err != nil {
		return err
	}
	r.Except, err = roomsOf(except, r.Except)
	return err
}

// byID reads the forms for one socket, whose id is text.
func (m *message) byID(r *wire.Request) error {
	if m.sid.Kind() != jsonscan.String {
		return errNoSelector
	}
	r.ByID, r.Member = true, m.sid.Text()
	switch r.Op {
	case wire.OpJoin:
		r.Targets = joined(m.room, r.Targets)
	case wire.OpLeave:
		if name, ok := nameOf(m.room); ok {
			r.Targets = append(r.Targets, name)
		}
	}
	return nil
}

// readAckRequest reads a broadcast with acknowledgements. Its packet need not name the
// namespace: servers use that of the channel.
func (c *Codec) readAckRequest(payload []byte, ns string, r *wire.Request) error {
	m := msgpack.NewReader(payload)
	n, err := m.MapLen()
	if err != nil {
		return err
	}
	r.Op = wire.OpBroadcast
	b := wire.Broadcast{Rooms: r.Rooms, All: r.All, Except: r.Except}
	var x extension
	var id, pack, opts []byte
	for range n {
		key, err := m.Script()
		if err != nil {
			return err
		}
		switch {
		case key == "uid" && m.Kind() == msgpack.String:
			r.Origin, err = m.Text()
		case key == "requestId":
			id, err = m.Raw()
		case key == "packet":
			pack, err = m.Raw()
		case key == "opts":
			opts, err = m.Raw()
		default:
			err = x.readMsgpack(key, &m)
		}
		if err != nil {
			return err
		}
	}
	if err := m.End(); err != nil {
		return err
	}
	if err := readAckRequestID(id, r); err != nil {
		return err
	}
	in := msgpack.NewReader(pack)
	if in.Kind() != msgpack.Map {
		return errNoEvent
	}
	p, err := readFields(&in)
	if err != nil {
		return err
	}
	p.id = nil // servers set an id of their own
	if err := p.event(ns, &b); err != nil {
		return err
	}
	if b.Flags&wire.Binary != 0 { // only v5 sends such packets, and only in broadcasts
		return errPacketType
	}
	if r.Timeout, err = readSelector(opts, &b); err != nil {
		return err
	}
	r.Rooms, r.All, r.Except, r.Flags, r.Payload = b.Rooms, append(b.All, x.all...), b.Except, b.Flags, b.Payload
	for name, value := range b.Header {
		x.add(name, value)
	}
	r.Header, r.HeaderDropped, r.Native = x.header, x.dropped+b.HeaderDropped, x.native
	if r.Origin == "" {
		r.Form |= formShared
	}
	if !r.Native && r.ID != "" {
		c.seen.note(gen6)
	}
	return nil
}

// readAckRequestID is requestID for msgpack.
func readAckRequestID(id []byte, r *wire.Request) error {
	in := msgpack.NewReader(id)
	if id == nil || in.Undefined() {
		return nil
	}
	if in.Kind() == msgpack.String {
		if r.ID, _ = in.Text(); r.ID != "" {
			return nil
		}
	}
	text, err := msgpack.AppendJSON(nil, id, nil)
	r.ID, r.Form = string(text), r.Form|formRawID
	return err
}

// readSelector reads the opts of a broadcast with acknowledgements, and of every one of the sharded adapter. Opts need not be an
// object: text, numbers and booleans have neither rooms nor exceptions.
func readSelector(opts []byte, b *wire.Broadcast) (time.Duration, error) {
	in := msgpack.NewReader(opts)
	switch in.Kind() {
	case msgpack.Bool, msgpack.Int, msgpack.Float, msgpack.String:
		return 0, nil
	}
	return readOpts(&in, b)
}
