package adapter

import (
	"errors"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// DecodeRequest implements backplane.Codec. It understands every dialect, whatever
// the codec asks in, and notes in r.Form how to answer.
func (c *codec) DecodeRequest(payload []byte, ns string, r *backplane.Request) error {
	*r = backplane.Request{Rooms: r.Rooms[:0], Except: r.Except[:0], Targets: r.Targets[:0]}
	if err := c.readRequest(payload, ns, r); err != nil {
		return badMessage("request", err)
	}
	return nil
}

var (
	errNoObject    = errors.New("not an object")
	errNoType      = errors.New("no type")
	errUnknownType = errors.New("unknown type")
	errNoSelector  = errors.New("neither opts nor sid")
	errNoRoom      = errors.New("no room")
	errNoData      = errors.New("no data")
	errNoID        = errors.New("no request id")
	errCount       = errors.New("clientCount is no count")
)

func (c *codec) readRequest(payload []byte, ns string, r *backplane.Request) error {
	v, packed, err := openMessage(payload, v6Broadcast)
	if err != nil {
		return err
	}
	if packed != nil {
		return c.readAsk(packed, ns, r)
	}
	m, err := readMessage(v)
	if err != nil {
		return err
	}
	r.Native, r.Header, r.HeaderDropped = m.extra.native, m.extra.header, m.extra.dropped
	r.ID, r.Origin = m.id, m.uid
	if m.v5 {
		r.Form, r.Origin = formV5, m.extra.node
		err = m.request5(r)
	} else {
		if m.uid == "" {
			r.Form = formShared
		}
		err = m.request8(r)
	}
	if err == nil && !m.extra.native && m.id != "" {
		c.seen.note(m.generation())
	}
	return err
}

// openMessage tells JSON from msgpack by the first byte, as 7.2 and later do
// [PROTOCOL 3], and returns a document to read. The message type that may hold binary
// data comes back as msgpack instead, whichever it was: there is one way to read it.
func openMessage(payload []byte, binaryType int64) (v jsonscan.Value, packed []byte, err error) {
	text := payload
	if len(payload) == 0 || payload[0] != '{' {
		r := msgpack.NewReader(payload)
		if r.Kind() != msgpack.Map {
			return v, nil, errNoObject
		}
		typ, err := packedType(r)
		if err != nil {
			return v, nil, err
		}
		if typ == binaryType {
			return v, payload, nil
		}
		if text, err = msgpack.AppendJSON(nil, payload, nil); err != nil {
			return v, nil, err
		}
	}
	if v, err = jsonscan.Parse(text); err != nil {
		return v, nil, err
	}
	if typ, ok := v.Get("type").Int(); ok && typ == binaryType && v.Get("requestid").Kind() == jsonscan.None {
		packed, err = msgpack.FromJSON(nil, text)
	}
	return v, packed, err
}

// packedType looks for the type of a message without reading the rest of it.
func packedType(r msgpack.Reader) (typ int64, err error) {
	typ = -1
	n, err := r.MapLen()
	if err != nil {
		return typ, err
	}
	for range n {
		key, err := readKey(&r)
		if err != nil {
			return typ, err
		}
		if key == "type" && r.Kind() == msgpack.Int {
			typ, err = r.Int()
		} else {
			err = r.Skip()
		}
		if err != nil {
			return typ, err
		}
	}
	return typ, r.End()
}

// message is a request or response in JSON, taken apart. Of keys that come twice the
// last one counts, as in JavaScript.
type message struct {
	v5      bool
	id, uid string
	typ     jsonscan.Value
	// Everything else that any type has.
	sid, room, rooms, opts, closing, data jsonscan.Value
	sockets, clients, clientCount, packet jsonscan.Value
	extra                                 extras
}

func readMessage(v jsonscan.Value) (m message, err error) {
	if v.Kind() != jsonscan.Object {
		return m, errNoObject
	}
	var id5, id8, uid jsonscan.Value
	for key, value := range v.Members() {
		switch key {
		case "requestid":
			id5 = value
		case "requestId":
			id8 = value
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
	m.v5 = id5.Kind() != jsonscan.None
	id := id8
	if m.v5 {
		id = id5
	}
	if !id.Missing() && id.Kind() != jsonscan.String {
		return m, errNoID
	}
	m.id, m.uid = id.Text(), uid.Text()
	return m, nil
}

func (m *message) generation() generation {
	if m.v5 {
		return gen5
	}
	return gen6
}

// request5 reads what v5 asks [PROTOCOL 5].
func (m *message) request5(r *backplane.Request) (err error) {
	typ, ok := m.typ.Int()
	if !ok {
		return errNoType
	}
	switch typ {
	case v5Clients:
		r.Op, r.Form = backplane.OpMembers, r.Form|formIDs
		r.Rooms, err = roomsOf(m.rooms, r.Rooms)
		return err
	case v5ClientRooms:
		r.Op = backplane.OpRoomsOf
		return m.byID(r)
	case v5AllRooms:
		r.Op = backplane.OpRooms
		return nil
	case v5RemoteJoin:
		r.Op = backplane.OpJoin
		return m.moveByID(r)
	case v5RemoteLeave:
		r.Op = backplane.OpLeave
		return m.moveByID(r)
	case v5RemoteDisconnect:
		r.Op, r.Close = backplane.OpDisconnect, m.closing.Bool()
		return m.byID(r)
	case v5Custom:
		r.Op, r.Payload = backplane.OpCustom, m.data.Raw()
		return nil
	}
	return errUnknownType
}

// request8 reads what v6 to v8, emitters and Crossroom nodes ask [PROTOCOL 6], but not
// broadcasts with acknowledgements.
func (m *message) request8(r *backplane.Request) (err error) {
	if m.typ.Kind() == jsonscan.String && m.typ.Text() == typeCustom {
		r.Op, r.Payload = backplane.OpCustom, m.data.Raw()
		return nil
	}
	typ, ok := m.typ.Int()
	if !ok {
		return errNoType
	}
	switch typ {
	case v6Sockets:
		r.Op, r.Form = backplane.OpMembers, r.Form|formIDs
		r.Rooms, err = roomsOf(m.rooms, r.Rooms)
		return err
	case v6AllRooms:
		r.Op = backplane.OpRooms
		return nil
	case v6Join, v6Leave, v6Disconnect:
		r.Op, r.Close = backplane.OpJoin+backplane.Op(typ-v6Join), typ == v6Disconnect && m.closing.Bool()
		return m.changes(r)
	case v6FetchSockets:
		r.Op, r.Detail = backplane.OpMembers, !m.extra.ids
		return m.selects(r)
	case v6ServerSideEmit:
		r.Op, r.NoReply, r.Payload = backplane.OpEvent, m.id == "", m.data.Raw()
		for range m.data.Elements() {
			return nil
		}
		return errNoData
	}
	return errUnknownType
}

// changes reads join, leave and disconnect. The presence of opts makes the difference
// between the two forms.
func (m *message) changes(r *backplane.Request) (err error) {
	if m.opts.Missing() {
		if r.Op == backplane.OpDisconnect {
			return m.byID(r)
		}
		return m.moveByID(r)
	}
	// Node.js gives and wants no answer to this form; Crossroom nodes have an id for
	// it elsewhere.
	r.ID = m.extra.id
	if r.Op != backplane.OpDisconnect {
		if m.rooms.Kind() != jsonscan.Array {
			return errNoRoom
		}
		if r.Targets, err = roomsOf(m.rooms, r.Targets); err != nil {
			return err
		}
	}
	return m.selects(r)
}

func (m *message) selects(r *backplane.Request) (err error) {
	if m.opts.Kind() != jsonscan.Object {
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
			m.extra.readJSON(key, value) // trace headers may stand here, too
		}
	}
	r.Header, r.HeaderDropped = m.extra.header, m.extra.dropped
	if r.Rooms, err = roomsOf(rooms, r.Rooms); err != nil {
		return err
	}
	r.Except, err = roomsOf(except, r.Except)
	return err
}

func (m *message) byID(r *backplane.Request) error {
	id, ok := nameOf(m.sid)
	if !ok {
		return errNoSelector
	}
	r.ByID, r.Member = true, id
	return nil
}

func (m *message) moveByID(r *backplane.Request) error {
	if err := m.byID(r); err != nil {
		return err
	}
	room, ok := nameOf(m.room)
	if !ok {
		return errNoRoom
	}
	r.Targets = append(r.Targets, room)
	return nil
}

// readAsk reads a broadcast with acknowledgements.
func (c *codec) readAsk(payload []byte, ns string, r *backplane.Request) error {
	m := msgpack.NewReader(payload)
	n, err := m.MapLen()
	if err != nil {
		return err
	}
	r.Op = backplane.OpBroadcast
	b := backplane.Broadcast{Rooms: r.Rooms, Except: r.Except}
	var x extras
	packet, opts := false, false
	for range n {
		key, err := readKey(&m)
		if err != nil {
			return err
		}
		switch {
		case key == "uid" && m.Kind() == msgpack.String:
			r.Origin, err = m.String()
		case key == "requestId":
			if !m.TryNil() {
				r.ID, err = m.String()
			}
		case key == "packet":
			packet, err = true, readPacket(&m, ns, &b)
		case key == "opts" && m.Kind() == msgpack.Map:
			opts = true
			r.Timeout, err = readOpts(&m, &b)
		default:
			err = x.readMsgpack(key, &m)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case !packet:
		return errNoEvent
	case !opts:
		return errNoSelector
	}
	r.Rooms, r.Except, r.Flags, r.Payload = b.Rooms, b.Except, b.Flags, b.Payload
	for name, value := range b.Header {
		x.add(name, value)
	}
	r.Header, r.HeaderDropped, r.Native = x.header, x.dropped+b.HeaderDropped, x.native
	if r.Origin == "" {
		r.Form = formShared
	}
	if !r.Native && r.ID != "" {
		c.seen.note(gen6)
	}
	return m.End()
}
