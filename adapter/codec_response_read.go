package adapter

import (
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// DecodeResponse implements backplane.Codec. It understands every dialect.
func (c *codec) DecodeResponse(payload []byte, ns string, r *backplane.Response) error {
	*r = backplane.Response{Members: r.Members[:0], Rooms: r.Rooms[:0]}
	if err := c.readResponse(payload, r); err != nil {
		return badMessage("response", err)
	}
	return nil
}

func (c *codec) readResponse(payload []byte, r *backplane.Response) error {
	v, packed, err := openMessage(payload, v6Ack)
	if err != nil {
		return err
	}
	if packed != nil {
		return c.readAck(packed, r)
	}
	m, err := readMessage(v)
	if err != nil {
		return err
	}
	if m.id == "" {
		by, ok := misunderstood(v)
		if !ok {
			return errNoID
		}
		c.seen.note(by)
		return backplane.ErrMisunderstood
	}
	if !m.extra.native {
		c.seen.note(m.generation())
	}
	x := &m.extra
	r.RequestID, r.Node, r.Header = m.id, x.node, x.header
	r.NotFound, r.Count, r.Err, r.Busy, r.More = x.notFound, x.count, x.err, x.busy, x.more
	if r.Rooms, err = roomsOf(m.rooms, r.Rooms); err != nil {
		return err
	}
	if !m.clientCount.Missing() {
		n, ok := intOf(m.clientCount)
		if !ok {
			return errCount
		}
		r.Count = n
	}
	r.Payload = m.data.Raw()
	list := m.sockets
	if m.v5 {
		list = m.clients
	}
	return readMembers(list, r)
}

// readMembers reads a list of ids or of objects.
func readMembers(list jsonscan.Value, r *backplane.Response) error {
	if list.Missing() {
		return nil
	}
	if list.Kind() != jsonscan.Array {
		return errNoList
	}
	for e := range list.Elements() {
		info := backplane.MemberInfo{Node: r.Node}
		if e.Kind() != jsonscan.Object {
			id, ok := nameOf(e)
			if !ok {
				return errNoName
			}
			info.ID = id
		} else if err := readMember(e, &info); err != nil {
			return err
		}
		r.Members = append(r.Members, info)
	}
	return nil
}

func readMember(v jsonscan.Value, info *backplane.MemberInfo) (err error) {
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
	ok := false
	if info.ID, ok = nameOf(id); !ok {
		return errNoName
	}
	if !rooms.Missing() {
		if info.Rooms, err = roomsOf(rooms, []string{}); err != nil {
			return err
		}
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
func (c *codec) readAck(payload []byte, r *backplane.Response) error {
	m := msgpack.NewReader(payload)
	n, err := m.MapLen()
	if err != nil {
		return err
	}
	var x extras
	r.Ack = true
	for range n {
		key, err := readKey(&m)
		if err != nil {
			return err
		}
		switch {
		case key == "requestId" && m.Kind() == msgpack.String:
			r.RequestID, err = m.String()
		case key == "packet" && m.Undefined():
			err = m.Skip()
		case key == "packet":
			r.Payload, err = m.Raw()
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
