package socketio

import (
	"math"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// DecodeResponse implements wire.Codec. It understands every dialect.
func (c *Codec) DecodeResponse(payload []byte, ns string, r *wire.Response) error {
	*r = wire.Response{Members: r.Members[:0], Rooms: r.Rooms[:0]}
	var err error
	if c.sharded() {
		err = c.readShardResponse(payload, ns, r)
	} else {
		err = c.readResponse(payload, r)
	}
	if err != nil {
		return badMessage("response", err)
	}
	return nil
}

func (c *Codec) readResponse(payload []byte, r *wire.Response) error {
	v, packed, err := openMessage(payload, v6Ack, true)
	if err != nil {
		return err
	}
	if packed != nil {
		return c.readAck(packed, r)
	}
	m := readMessage(v, payload[0] == '{')
	id := m.id.Text()
	switch {
	case id != "":
	case !m.id.Missing() && m.id.Kind() != jsonscan.String:
		return errNoID // the ids of this node's requests are text
	default:
		by, ok := misunderstood(v)
		if !ok {
			return errNoID
		}
		c.seen.note(by)
		if v.Get("clients").Kind() == jsonscan.Array {
			c.seen.misreads.Add(1)
			select {
			case c.seen.misread <- struct{}{}:
			default:
			}
		}
		return wire.ErrMisunderstood
	}
	if !m.extra.native {
		c.seen.note(m.generation())
	}
	x := &m.extra
	r.RequestID, r.Node, r.Header = id, x.node, x.header
	r.NotFound, r.Count, r.Err, r.Busy, r.More, r.Rest = x.notFound, x.count, x.err, x.busy, x.more, x.rest
	if x.native && x.ask != "" {
		r.Ask, r.Payload = true, []byte(x.ask)
		return nil
	}
	if count, ok := countOf(m.clientCount); m.typ.Is(v6ClientCount) && ok {
		r.Count = count
	} else if !x.native {
		r.Count = -1
	}
	r.Payload = m.data.Raw()
	if m.rooms.Kind() == jsonscan.Array {
		r.Rooms = m.names(m.rooms, r.Rooms)
	}
	list := m.sockets
	if m.v5 {
		list = m.clients
	}
	return m.members(list, r)
}

// countOf returns a number of clients. Null and booleans count as the numbers that
// JavaScript adds for them.
func countOf(v jsonscan.Value) (n int, ok bool) {
	switch v.Kind() {
	case jsonscan.Null:
		return 0, true
	case jsonscan.Bool:
		if v.Bool() {
			n = 1
		}
		return n, true
	}
	f, ok := v.Float()
	if n = int(f); !ok || f < 0 || f > math.MaxInt32 || f != float64(n) {
		return 0, false
	}
	return n, true
}

// names appends the rooms or ids in a list, each once. v5 uses the text of any element; the
// others skip an element that is neither text nor a number.
func (m *message) names(list jsonscan.Value, dst []string) []string {
	if dst == nil {
		dst = []string{}
	}
	if m.v5 {
		return textsOf(list, dst)
	}
	dst, _ = listOf(list, dst)
	return dst
}

// members reads a list of ids or of objects.
func (m *message) members(list jsonscan.Value, r *wire.Response) error {
	if list.Kind() != jsonscan.Array {
		return nil
	}
	if r.Members == nil {
		r.Members = []wire.MemberInfo{}
	}
	for e := range list.Elements() {
		info := wire.MemberInfo{Node: r.Node}
		switch name, ok := nameOf(e); {
		case m.v5:
			info.ID = textOf(e)
		case ok:
			info.ID = name
		case e.Kind() != jsonscan.Object:
			return errNoMember
		default:
			if err := m.member(e, &info); err != nil {
				return err
			}
		}
		r.Members = append(r.Members, info)
	}
	return nil
}

// member reads a server's description of a socket.
func (m *message) member(v jsonscan.Value, info *wire.MemberInfo) error {
	var id, handshake, rooms, data jsonscan.Value
	for key, value := range v.Members() {
		switch key {
		case "id":
			id = value
		case "handshake":
			handshake = value
		case "rooms":
			rooms = value
		case "data":
			data = value
		}
	}
	var ok bool
	if info.ID, ok = nameOf(id); !ok {
		return errNoMember
	}
	switch rooms.Kind() {
	case jsonscan.None, jsonscan.Null:
	case jsonscan.String:
		info.Rooms = appendCharacters([]string{}, rooms.Text())
	case jsonscan.Array:
		info.Rooms = m.names(rooms, nil)
	default:
		return errNoList
	}
	if handshake.Missing() && data.Kind() == jsonscan.None {
		return nil
	}
	o := newObject(make([]byte, 0, len(handshake.Raw())+len(data.Raw())+len(`{"handshake":,"data":}`)))
	if !handshake.Missing() {
		o.raw("handshake", handshake.Raw())
	}
	if data.Kind() != jsonscan.None {
		o.raw("data", data.Raw())
	}
	info.Data = o.end()
	return nil
}

// readAck reads one acknowledgement.
func (c *Codec) readAck(payload []byte, r *wire.Response) error {
	m := msgpack.NewReader(payload)
	n, err := m.MapLen()
	if err != nil {
		return err
	}
	var x extension
	r.Ack = true
	for range n {
		key, err := m.Script()
		if err != nil {
			return err
		}
		switch {
		case key == "requestId" && m.Kind() == msgpack.String:
			r.RequestID, err = m.Text()
		case key == "requestId":
			r.RequestID, err = "", m.Skip()
		case key == "packet" && m.Undefined():
			r.Payload, err = nil, m.Skip()
		case key == "packet":
			r.Payload, err = m.RawWithin(payloadLevels)
		default:
			err = x.readMsgpack(key, &m)
		}
		if err != nil {
			return err
		}
	}
	if r.RequestID == "" {
		return errNoID
	}
	if !x.native {
		c.seen.note(gen6)
	}
	r.Node, r.Header, r.Err = x.node, x.header, x.err
	return m.End()
}
