package socketio

import (
	"bytes"
	"cmp"
	"fmt"
	"time"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// Sort says what a message of the sharded adapter is.
type Sort uint8

const (
	// SortBroadcast is what DecodeBroadcast reads.
	SortBroadcast Sort = iota
	// SortRequest is what DecodeRequest reads, or something unreadable.
	SortRequest
	// SortResponse is what DecodeResponse reads.
	SortResponse
)

// SortOf returns what a message of the sharded adapter is. Broadcasts and requests share a channel, and broadcasts with
// acknowledgements differ from those without by their id only.
func SortOf(payload []byte) Sort {
	typ, id := -1, false
	if len(payload) > 0 && payload[0] == '{' {
		v, err := jsonscan.Parse(jsonscan.Valid(payload))
		if err != nil {
			return SortRequest
		}
		t := v.Get("type")
		if t.Kind() == jsonscan.String {
			if t.Text() == typeResponse {
				return SortResponse
			}
			return SortRequest
		}
		if n, ok := t.Int(); ok && n >= 0 && n <= shardLastHeartbeat {
			typ = int(n)
		}
		id = typ == shardBroadcast && v.Get("data").Get("requestId").Kind() != jsonscan.None
	} else {
		m, err := readShard(payload)
		if err != nil {
			return SortRequest
		}
		typ = m.number()
		id = typ == shardBroadcast && bytes.Contains(m.data, []byte("\xa9requestId")) && m.hasID()
	}
	switch {
	case typ == shardBroadcast && !id:
		return SortBroadcast
	case typ == shardFetched, typ >= shardEventReply && typ <= shardAck:
		return SortResponse
	}
	return SortRequest
}

// shard is a message in msgpack.
type shard struct {
	typ, data []byte
	uid       string
	nsp       []byte
	extra     extension
}

// readShard reads a message in msgpack. If a key appears twice the last one counts.
func readShard(payload []byte) (m shard, err error) {
	r := msgpack.NewReader(payload)
	n, err := r.MapLen()
	if err != nil {
		return m, err
	}
	for range n {
		key, err := r.Script()
		if err != nil {
			return m, err
		}
		switch key {
		case "type":
			m.typ, err = r.Raw()
		case "data":
			m.data, err = r.Raw()
		case "nsp":
			m.nsp, err = r.Raw()
		case "uid":
			if m.uid = ""; r.Kind() == msgpack.String {
				m.uid, err = r.Text()
			} else {
				err = r.Skip()
			}
		default:
			err = m.extra.readMsgpack(key, &r)
		}
		if err != nil {
			return m, err
		}
	}
	return m, r.End()
}

// openShard is readShard for JSON too, which it converts.
func openShard(payload []byte) (shard, error) {
	if len(payload) == 0 || payload[0] != '{' {
		return readShard(payload)
	}
	packed, err := msgpack.FromJSON(nil, jsonscan.Valid(payload))
	if err != nil {
		return shard{}, err
	}
	return readShard(packed)
}

// number returns the type; -1 if it is none.
func (m *shard) number() int {
	f, err := number(m.typ)
	if n := int(f); err == nil && float64(n) == f {
		return n
	}
	return -1
}

func (m *shard) hasID() bool {
	in, err := m.fields()
	return err == nil && in.id != nil && !isUndefined(in.id)
}

func isUndefined(raw []byte) bool {
	r := msgpack.NewReader(raw)
	return r.Undefined()
}

// inNamespace checks the namespace of a message. Adapters before 8.3 send none.
func (m *shard) inNamespace(ns string) error {
	r := msgpack.NewReader(m.nsp)
	if m.nsp == nil || r.Undefined() {
		return nil
	}
	if r.Kind() == msgpack.String {
		if name, err := r.Text(); err != nil || name == ns {
			return err
		}
	}
	return wire.ErrForeignNamespace
}

// shardFields are the fields of a message's data, encoded; nil if missing.
type shardFields struct{ packet, opts, id []byte }

func (m *shard) fields() (f shardFields, err error) {
	r := msgpack.NewReader(m.data)
	if r.Kind() != msgpack.Map {
		return f, errNoData
	}
	n, err := r.MapLen()
	if err != nil {
		return f, err
	}
	for range n {
		key, err := r.Script()
		if err != nil {
			return f, err
		}
		raw, err := r.Raw()
		if err != nil {
			return f, err
		}
		switch key {
		case "packet":
			f.packet = raw
		case "opts":
			f.opts = raw
		case "requestId":
			f.id = raw
		}
	}
	return f, nil
}

// event reads the packet and the opts of a broadcast into b.
func (f *shardFields) event(ns string, m *shard, b *wire.Broadcast) (timeout time.Duration, err error) {
	in := msgpack.NewReader(f.packet)
	if in.Kind() != msgpack.Map {
		return 0, errNoEvent
	}
	p, err := readFields(&in)
	if err != nil {
		return 0, err
	}
	if err := p.event(ns, b); err != nil {
		return 0, err
	}
	if b.Flags&wire.Binary != 0 { // only v5 sends such packets
		return 0, errPacketType
	}
	if timeout, err = readSelector(f.opts, b); err != nil {
		return 0, err
	}
	for name, value := range b.Header {
		m.extra.add(name, value)
	}
	b.Header, b.HeaderDropped = m.extra.header, m.extra.dropped+b.HeaderDropped
	if b.Relay = cmp.Or(m.extra.relay, b.Relay); b.Relay != "" {
		err = checkMark(b.Relay)
	}
	return timeout, err
}

func (c *Codec) readShardBroadcast(payload []byte, ns string, b *wire.Broadcast) error {
	m, err := openShard(payload)
	if err != nil {
		return err
	}
	if err := m.inNamespace(ns); err != nil {
		return err
	}
	f, err := m.fields()
	if err != nil {
		return err
	}
	if _, err := f.event(ns, &m, b); err != nil {
		return err
	}
	if b.Origin = m.uid; m.uid == "" {
		b.Origin = EmitterUID
	}
	if len(b.Rooms) == 1 && b.Rooms[0] == noSuchRoom {
		return errNoSuchRoom
	}
	return nil
}

// readShardRequest reads a request.
func (c *Codec) readShardRequest(payload []byte, ns string, r *wire.Request) error {
	v, packed, err := openMessage(payload, shardBroadcast, false)
	if err != nil {
		return err
	}
	if packed != nil {
		m, err := readShard(packed)
		if err != nil {
			return err
		}
		return c.readShardAckRequest(&m, ns, r)
	}
	top, err := openShardText(v, ns)
	if err != nil {
		return err
	}
	r.Native, r.Header, r.HeaderDropped = top.extra.native, top.extra.header, top.extra.dropped
	r.Page, r.After = top.extra.page, top.extra.after
	r.Origin = top.uid
	m := readMessage(top.data, true)
	m.extra = top.extra
	var raw bool
	if r.ID, raw = requestID(m.id); raw {
		r.Form |= formRawID
	}
	if top.typ.Kind() == jsonscan.String && top.typ.Text() == typeCustom {
		r.Op, r.Payload = wire.OpCustom, m.packet.Raw()
		return nil
	}
	n, _ := top.typ.Int()
	switch {
	case top.typ.Is(shardFetch):
		r.Op, r.Detail = wire.OpMembers, !m.extra.ids
		if m.extra.ids {
			r.Form |= formIDs
		}
		if m.extra.rooms {
			r.Op, r.Detail = wire.OpRooms, false
			return nil
		}
		return m.selects(r)
	case top.typ.Is(shardJoin), top.typ.Is(shardLeave), top.typ.Is(shardDisconnect):
		r.Op, r.Close = wire.OpJoin+wire.Op(n-shardJoin), m.closing.Truthy()
		if err := m.filtered(r); err != nil {
			return err
		}
		if r.Native && m.extra.byID && len(r.Rooms) >= 1 {
			r.ByID, r.Member, r.Rooms = true, r.Rooms[0], r.Rooms[:0]
		}
		return nil
	case top.typ.Is(shardEvent):
		r.Op, r.NoReply, r.Payload = wire.OpEvent, m.id.Kind() == jsonscan.None, m.packet.Raw()
		if r.NoReply {
			r.ID = ""
		}
		for range m.packet.Elements() {
			return nil
		}
		return errNoData
	}
	if ok := top.typ.Kind() == jsonscan.Number; ok && (n == 1 || n == 2 || n == shardLastHeartbeat) {
		return errHeartbeat
	}
	return errUnknownType
}

var errHeartbeat = fmt.Errorf("a heartbeat: %w", wire.ErrIgnored)

// shardText is a message in JSON.
type shardText struct {
	typ, data jsonscan.Value
	uid       string
	extra     extension
}

func openShardText(v jsonscan.Value, ns string) (m shardText, err error) {
	var nsp jsonscan.Value
	for key, value := range v.Members() {
		switch key {
		case "type":
			m.typ = value
		case "data":
			m.data = value
		case "uid":
			m.uid = value.Text()
		case "nsp":
			nsp = value
		default:
			m.extra.readJSON(key, value)
		}
	}
	switch {
	case nsp.Kind() != jsonscan.None && (nsp.Kind() != jsonscan.String || nsp.Text() != ns):
		return m, wire.ErrForeignNamespace
	case m.typ.Is(1), m.typ.Is(2), m.typ.Is(shardLastHeartbeat):
		return m, errHeartbeat
	case m.data.Kind() != jsonscan.Object:
		return m, errNoData
	}
	return m, nil
}

// readShardAckRequest reads a broadcast with acknowledgements.
func (c *Codec) readShardAckRequest(m *shard, ns string, r *wire.Request) error {
	if err := m.inNamespace(ns); err != nil {
		return err
	}
	f, err := m.fields()
	if err != nil {
		return err
	}
	if err := readAckRequestID(f.id, r); err != nil {
		return err
	}
	b := wire.Broadcast{Rooms: r.Rooms, Except: r.Except}
	timeout, err := f.event(ns, m, &b)
	if err != nil {
		return err
	}
	r.Op, r.Origin, r.Native = wire.OpBroadcast, m.uid, m.extra.native
	r.Rooms, r.Except, r.Flags, r.Payload = b.Rooms, b.Except, b.Flags, b.Payload
	r.Timeout, r.Header, r.HeaderDropped = timeout, b.Header, b.HeaderDropped
	return nil
}

// readShardResponse reads a response.
func (c *Codec) readShardResponse(payload []byte, ns string, r *wire.Response) error {
	v, packed, err := openMessage(payload, shardAck, false)
	if err != nil {
		return err
	}
	if packed != nil {
		m, err := readShard(packed)
		if err != nil {
			return err
		}
		return readShardAck(&m, ns, r)
	}
	top, err := openShardText(v, ns)
	if err != nil {
		return err
	}
	m := readMessage(top.data, true)
	m.extra = top.extra
	if r.RequestID = m.id.Text(); r.RequestID == "" {
		return errNoID // the ids of this node's requests are text
	}
	x := &top.extra
	if x.native {
		r.Node = top.uid
	}
	r.Header, r.NotFound, r.Count, r.Err, r.Busy, r.More, r.Rest = x.header, x.notFound, x.count, x.err, x.busy, x.more, x.rest
	if x.native && x.ask != "" {
		r.Ask, r.Payload = true, []byte(x.ask)
		return nil
	}
	if count, ok := countOf(m.clientCount); top.typ.Is(shardClientCount) && ok {
		r.Count = count
	} else if !x.native {
		r.Count = -1
	}
	r.Payload = m.packet.Raw()
	if err := m.members(m.sockets, r); err != nil {
		return err
	}
	switch {
	case m.rooms.Kind() == jsonscan.Array:
		r.Rooms = m.names(m.rooms, r.Rooms)
	case r.Members != nil && !x.native: // it may be the response to OpRooms
		set := nameSet{list: r.Rooms, expect: len(v.Raw())}
		if set.list == nil {
			set.list = []string{}
		}
		for i := range r.Members {
			for _, room := range r.Members[i].Rooms {
				set.add(room)
			}
		}
		r.Rooms = set.list
	}
	return nil
}

func readShardAck(m *shard, ns string, r *wire.Response) error {
	if err := m.inNamespace(ns); err != nil {
		return err
	}
	f, err := m.fields()
	if err != nil {
		return err
	}
	id := msgpack.NewReader(f.id)
	if id.Kind() == msgpack.String {
		if r.RequestID, err = id.Text(); err != nil {
			return err
		}
	}
	if r.RequestID == "" {
		return errNoID
	}
	if f.packet != nil && !isUndefined(f.packet) {
		in := msgpack.NewReader(f.packet)
		if r.Payload, err = in.RawWithin(payloadLevels); err != nil {
			return err
		}
	}
	r.Ack = true
	if m.extra.native {
		r.Node = m.uid
	}
	r.Header, r.Err = m.extra.header, m.extra.err
	return nil
}
