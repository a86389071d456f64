package zishang520

import (
	"strings"

	"github.com/crossroom/crossroom/adapter"
	"github.com/zishang520/socket.io/parsers/socket/v3/parser"
	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// member is a socket of this server, as a member of the fleet's namespace.
type member struct {
	a  *namespace
	id socket.SocketId
}

var (
	_ adapter.AckSocket  = (*member)(nil)
	_ adapter.RoomSocket = (*member)(nil)
	_ adapter.Describer  = (*member)(nil)
)

// socket returns the server's socket; nil if it is not connected.
func (m *member) socket() *socket.Socket {
	if s, ok := m.a.Nsp().Sockets().Load(m.id); ok && s.Connected() {
		return s
	}
	return nil
}

func (m *member) ID() string { return string(m.id) }

func (m *member) Deliver(p *adapter.Packet) {
	if s := m.socket(); s != nil {
		m.a.encode(p, false).write(s)
	}
}

func (m *member) DeliverWithAck(p *adapter.Packet, ack func(args ...any)) {
	s := m.socket()
	if s == nil {
		return
	}
	e := m.a.encode(p, true)
	s.Acks().Store(*e.packet.Id, func(args []any, _ error) {
		args, err := outgoing(args, false)
		m.a.fault("acknowledge", err)
		ack(args[:min(len(args), 1)]...)
	})
	e.write(s)
}

func (m *member) Disconnect(connection bool) {
	if s := m.socket(); s != nil {
		s.Disconnect(connection)
	}
}

func (m *member) Joined(rooms []string) {
	list := make([]socket.Room, len(rooms))
	for i, room := range rooms {
		list[i] = socket.Room(room)
	}
	if s := m.socket(); s != nil {
		s.Join(list...)
	}
	m.a.mirror(m.id, list...) // the socket may not have joined
}

func (m *member) Left(rooms []string) {
	for _, room := range rooms {
		m.a.Del(m.id, socket.Room(room))
	}
}

// Describe returns the description in the form that Node.js servers expect: header names in lower
// case, and a single value as a text. Options.Redact of the fleet replaces credentials.
func (m *member) Describe() (d adapter.Description) {
	s := m.socket()
	if s == nil {
		return d
	}
	d.Data = s.Data()
	if h := s.Handshake(); h != nil {
		d.Handshake = &adapter.Handshake{
			Headers: single(h.Headers, strings.ToLower), Time: h.Time, Address: h.Address, XDomain: h.Xdomain,
			Secure: h.Secure, Issued: h.Issued, URL: h.Url, Query: single(h.Query, func(k string) string { return k }),
		}
		if h.Auth != nil {
			d.Handshake.Auth = h.Auth
		}
	}
	return d
}

func single(m map[string]any, name func(string) string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if list, ok := v.([]string); ok && len(list) == 1 {
			v = list[0]
		}
		out[name(k)] = v
	}
	return out
}

// encoded is a packet of another server in the form for clients, encoded once for all of them.
type encoded struct {
	of      *adapter.Packet
	withID  bool
	packet  *parser.Packet
	buffers []types.BufferInterface
	opts    socket.WriteOptions
}

// encode returns the packet in the form for clients. The last one is cached, because encode is called
// for all clients of a packet in turn.
func (a *namespace) encode(p *adapter.Packet, withID bool) *encoded {
	if e := a.last.Load(); e != nil && e.of == p && e.withID == withID {
		return e
	}
	e := &encoded{of: p, withID: withID, packet: &parser.Packet{Type: parser.EVENT, Nsp: p.Namespace()}}
	e.opts.PreEncoded, e.opts.Volatile = true, p.Volatile()
	if !p.Compress() {
		e.opts.Compress = new(bool)
	}
	var frames adapter.Frames
	if withID {
		id := a.Nsp().Ids()
		e.packet.Id = &id
		frames = p.AckFrames(id)
	} else {
		frames = p.Frames()
	}
	switch {
	case a.own:
		e.packet.Data = a.data(p)
		e.buffers = a.Nsp().Server().Encoder().Encode(e.packet)
	case frames.Text != nil:
		e.buffers = []types.BufferInterface{types.NewStringBuffer(frames.Text)}
		for _, b := range frames.Attachments {
			e.buffers = append(e.buffers, types.NewBytesBuffer(b))
		}
		if len(frames.Attachments) == 0 {
			e.opts.WsPreEncodedFrame = types.NewStringBuffer(frames.Engine)
		}
	}
	a.last.Store(e)
	return e
}

// data returns a packet's data for the server's parser.
func (a *namespace) data(p *adapter.Packet) []any {
	args := p.Args()
	if !a.own {
		args = eachIn(args, sendable)
	}
	return append([]any{p.Event()}, args...)
}

// write writes the packet to a client, and calls its OnAnyOutgoing listeners.
func (e *encoded) write(s *socket.Socket) {
	if len(s.ListenersAnyOutgoing()) > 0 {
		shown := *e.packet
		shown.Data = append([]any{e.of.Event()}, e.of.Args()...)
		s.NotifyOutgoingListeners()(&shown)
	}
	s.Client().WriteToEngine(e.buffers, &e.opts)
}

// deliverAndKeep delivers another server's broadcast by the in-memory adapter, which keeps it
// for clients that reconnect.
func (a *namespace) deliverAndKeep(p *adapter.Packet, rooms, except []string) {
	if p.Err() != nil {
		return
	}
	opts := &socket.BroadcastOptions{Rooms: set(rooms), Except: set(except), Flags: &socket.BroadcastFlags{}}
	opts.Flags.Volatile = p.Volatile()
	if !p.Compress() {
		opts.Flags.Compress = new(bool)
	}
	a.Adapter.Broadcast(&parser.Packet{Type: parser.EVENT, Data: a.data(p)}, opts)
}

func set(list []string) *types.Set[socket.Room] {
	s := types.NewSet[socket.Room]()
	for _, name := range list {
		s.Add(socket.Room(strings.Clone(name)))
	}
	return s
}
