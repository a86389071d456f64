package adapter

import (
	"encoding/json"
	"sync"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Socket is one client's connection to a namespace on this server. Your realtime server implements it. The server's
// goroutines, and those that emit, call its methods, also at the same time. They must not block: see Deliver, and
// section "Callbacks and ownership" of the package documentation. A method that panics is reported to Options.OnError,
// and the next socket is called. If a method was called for another server's message and does not return within
// Options.StallTimeout, it is reported too, and the server continues without the socket until the method returns.
//
// A socket may also be an AckSocket, a ReasonSocket, a RoomSocket and a Describer; Namespace.Add finds out.
type Socket interface {
	// ID is unique among the sockets of the namespace in the whole fleet, and never changes. Add puts the socket into
	// the room of that name; only Leave with that name takes it out. Socket.IO makes ids of 20 random characters; any
	// valid UTF-8 of up to 4096 bytes works.
	ID() string
	// Deliver receives one packet. It is shared with other sockets: read-only, but it may be kept. To write it to a
	// network connection, push it into an outgoing.Queue, which never blocks and disconnects a client that is too
	// slow:
	//
	//	queue.Push(p.Frames(), size, p.Volatile()) // size of Engine and Attachments, in bytes
	Deliver(p *Packet)
	// Disconnect makes the socket leave its namespace; with connection, it closes the whole connection. The server does
	// not remove the socket: call Namespace.Remove when it has left, also when the client closed the connection by
	// itself. Disconnect may be called more than once.
	Disconnect(connection bool)
}

// AckSocket is a Socket whose client can acknowledge packets. Other sockets get
// packets of EmitWithAck through Deliver and are not counted.
type AckSocket interface {
	Socket
	// DeliverWithAck receives one packet and calls ack when the client has acknowledged, from any goroutine. The first
	// value travels; without one the acknowledgement is empty. Calls after the first do nothing. ack waits while the
	// broker's queue is full, for Options.RequestsTimeout at most, so call it after DeliverWithAck has returned.
	DeliverWithAck(p *Packet, ack func(args ...any))
}

// ReasonSocket is a Socket that gets the reason of a disconnect.
type ReasonSocket interface {
	Socket
	// DisconnectFor is called in place of Disconnect. reason is that of Operator.Reason; empty if there is none, as from
	// Node.js servers. It has at most 1,024 bytes, and another process may have chosen it.
	DisconnectFor(reason string, connection bool)
}

// RoomSocket is a Socket whose server keeps its rooms too. The calls follow the change in the Namespace, in the order
// of changes and in their place among the broadcasts of other servers. rooms is valid during the call, and may include
// rooms that change nothing.
type RoomSocket interface {
	Socket
	// Joined is called after another server, or an Operator's SocketsJoin of this one, has put the socket into rooms;
	// Left, after one has taken it out. Namespace.Join, Leave and Remove of this server do not call them for a local
	// socket, because your realtime server itself calls these methods.
	Joined(rooms []string)
	Left(rooms []string)
}

// Describer is a Socket with a description for FetchSockets.
type Describer interface {
	// Describe may be called at any time from any goroutine. The server encodes the result at once and does not keep
	// it.
	Describe() Description
}

// Description is the data in FetchSockets besides a socket's id and rooms.
type Description struct {
	// Handshake as JSON; Node.js servers expect the fields of Handshake. Nil: an
	// empty one. It is sent as Options.Redact leaves it, by default without credentials. If
	// it cannot be encoded it is reported as a *backplane.OpError and sent without Headers,
	// Query and Auth.
	Handshake *Handshake
	// Data belongs to the application and is encoded as JSON. Nil means an empty object, like on Node.js servers. Data
	// that cannot be encoded is sent as an empty object, and reported as a *backplane.OpError.
	Data any
}

// Handshake describes how a client connected, with the fields and JSON names of
// Socket.IO.
type Handshake struct {
	// Headers and Query have strings and lists of strings as values. They and Auth
	// are sent as empty objects if they are nil.
	Headers map[string]any `json:"headers"`
	// Time of connection, as a text for people.
	Time string `json:"time"`
	// Address of the client.
	Address string `json:"address"`
	// XDomain: the client's page is from another origin.
	XDomain bool `json:"xdomain"`
	// Secure: the connection uses TLS.
	Secure bool `json:"secure"`
	// Issued is the time of connection in milliseconds since 1970.
	Issued int64 `json:"issued"`
	// URL of the first request.
	URL   string         `json:"url"`
	Query map[string]any `json:"query"`
	// Auth is the client's authentication payload.
	Auth any `json:"auth"`
}

// whole returns h with objects where it has none: applications of Node.js servers read them without checking that they
// exist.
func (h *Handshake) whole() *Handshake {
	var w Handshake
	if h != nil {
		w = *h
	}
	if w.Headers == nil {
		w.Headers = map[string]any{}
	}
	if w.Query == nil {
		w.Query = map[string]any{}
	}
	if w.Auth == nil {
		w.Auth = map[string]any{}
	}
	return &w
}

// member is a Socket as the core sees it.
type member struct {
	socket Socket // beside the fields of the entry that a fan-out reads
	rooms.Embed[backplane.Member]
	id string
	ns *Namespace
}

// ackMember is one whose socket is an AckSocket.
type ackMember struct{ member }

func newMember(ns *Namespace, s Socket) backplane.Member {
	var m *member
	var made backplane.Member
	if _, ok := s.(AckSocket); ok {
		a := new(ackMember)
		m, made = &a.member, a
	} else {
		m = new(member)
		made = m
	}
	m.socket, m.id, m.ns = s, s.ID(), ns
	return made
}

func (m *member) ID() string { return m.id }

func (m *member) Deliver(msg *backplane.Message) {
	if p := msg.Value.(*Packet); !p.again {
		m.socket.Deliver(p)
	}
}

func (m *member) Disconnect(connection bool) { m.socket.Disconnect(connection) }

// DisconnectFor implements backplane.ReasonMember.
func (m *member) DisconnectFor(reason string, connection bool) {
	if s, ok := m.socket.(ReasonSocket); ok {
		s.DisconnectFor(reason, connection)
		return
	}
	m.socket.Disconnect(connection)
}

func (m *ackMember) DeliverAck(msg *backplane.Message, ack func(payload []byte)) {
	p := msg.Value.(*Packet)
	if p.again {
		ack(answeredElsewhere)
		return
	}
	var once sync.Once
	m.socket.(AckSocket).DeliverWithAck(p, func(args ...any) {
		once.Do(func() { ack(m.ns.encodeAck(m.id, args)) })
	})
}

// Joined implements backplane.RoomMember.
func (m *member) Joined(rooms []string) {
	if s, ok := m.socket.(RoomSocket); ok {
		s.Joined(rooms)
	}
}

// Left implements backplane.RoomMember.
func (m *member) Left(rooms []string) {
	if s, ok := m.socket.(RoomSocket); ok {
		s.Left(rooms)
	}
}

// encodeAck encodes the value that travels; nil if there is none.
func (ns *Namespace) encodeAck(id string, args []any) []byte {
	if len(args) == 0 {
		return nil
	}
	payload, _, err := msgpack.AppendValue(nil, args[0])
	if err != nil {
		ns.server.report(wire.FromAdapter(&backplane.OpError{Op: "encode acknowledgement of", Namespace: ns.name, Name: id, Err: err}))
		return nil
	}
	return payload
}

// Describe implements backplane.Describer. An Auth of a client that cannot be passed on hides neither the client nor
// the application's data.
func (m *member) Describe() []byte {
	d, ok := m.socket.(Describer)
	if !ok {
		return nil
	}
	said := d.Describe()
	handshake := said.Handshake.whole()
	if said.Handshake != nil {
		m.ns.server.opts.Redact(handshake)
		handshake = handshake.whole()
	}
	plain := *handshake
	plain.Headers, plain.Query, plain.Auth = nil, nil, nil
	if said.Data == nil {
		said.Data = struct{}{}
	}
	out := m.describe([]byte(`{"handshake":`), "handshake", handshake, plain.whole())
	out = m.describe(append(out, `,"data":`...), "data", said.Data, struct{}{})
	return append(out, '}')
}

// describe appends v or, if that cannot be encoded, plain.
func (m *member) describe(dst []byte, what string, v, plain any) []byte {
	text, err := encodeJSON(v)
	if err != nil {
		m.ns.server.report(wire.FromAdapter(&backplane.OpError{Op: "encode " + what + " of", Namespace: m.ns.name, Name: m.id, Err: err}))
		text, _ = json.Marshal(plain)
	}
	return append(dst, text...)
}

// encodeJSON encodes the application's data as JSON, by the rules of encoding/json. The error is that of
// encoding/json, or a *jsonscan.SyntaxError, because encoding/json accepts some text that others do not read.
func encodeJSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if _, err := jsonscan.ParseWithin(text, msgpack.ValueDepth); err != nil {
		return nil, err
	}
	return text, nil
}
