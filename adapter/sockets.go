package adapter

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// Sockets is a list of sockets of the whole fleet.
type Sockets struct {
	// List is sorted by id and has each socket once.
	List []RemoteSocket
	backplane.Coverage
}

// RemoteSocket is a node's description of one of its sockets, and a handle to it: a snapshot, a value that may be
// copied freely.
type RemoteSocket struct {
	ID string
	// Node is the uid of the Go node that has the socket; empty for another server.
	Node string
	// Rooms of the socket, including that of its own id, in no order. Nil if its node listed the socket but did not
	// send its rooms in time.
	Rooms []string
	// Handshake is a JSON object with the fields of type Handshake: json.Unmarshal makes one of it. A Go node replaces the
	// credentials in it: see Options.Redact. Data is the application's data of the socket, as JSON. Both are nil if they
	// are not known, as in dialect v5.
	Handshake, Data json.RawMessage

	ns *Namespace
}

// FetchSockets returns the selected sockets of all nodes, with their rooms and descriptions. If nodes are missing it
// returns the responses of the others and a *backplane.PartialError.
//
// A Go node whose list is larger than the broker's largest message responds in several. A socket whose Description
// takes more than backplane.MaxDescription bytes as JSON is listed without it.
func (o Operator) FetchSockets(ctx context.Context) (*Sockets, error) {
	if err := o.check(ctx); err != nil {
		return nil, err
	}
	m, err := o.members(ctx, true)
	if m == nil {
		return nil, err
	}
	out := &Sockets{List: make([]RemoteSocket, len(m.List)), Coverage: m.Coverage}
	for i, info := range m.List {
		out.List[i] = o.ns.remote(wire.MemberInfo(info))
	}
	return out, err
}

func (ns *Namespace) remote(info wire.MemberInfo) RemoteSocket {
	s := RemoteSocket{ID: info.ID, Node: info.Node, Rooms: info.Rooms, ns: ns}
	var about struct{ Handshake, Data json.RawMessage }
	if info.Data != nil && json.Unmarshal(info.Data, &about) == nil {
		s.Handshake, s.Data = about.Handshake, about.Data
	}
	return s
}

// EachSocket iterates over the sockets that FetchSockets lists, and holds only a part of them in memory: at first about
// 4 MiB of messages in all, or 16 KiB of each Go node if that is more, and then 256 KiB. A Node.js server sends its
// whole list at once. In dialect v5, beside servers older than 6.1, and on a server with several links the whole list is
// made first.
//
// The last pair may have an error in place of a socket: a *backplane.PartialError if nodes are missing, also because
// they left or failed during the loop. Without it the list is complete: it has each socket that was selected during the
// whole loop, in no order. The loop's body may take any time; ctx limits the loop as a whole.
func (o Operator) EachSocket(ctx context.Context) iter.Seq2[RemoteSocket, error] {
	return wire.Sequence(ctx, func(yield func(RemoteSocket) bool) error {
		if err := o.check(ctx); err != nil {
			return err
		}
		t, some := o.ns.resolve(ctx, o.target)
		if !isPartial(some) {
			return some
		}
		if err := o.ns.fleet.eachMember(ctx, t, func(info wire.MemberInfo) bool { return yield(o.ns.remote(info)) }); err != nil {
			return err
		}
		return some
	})
}

// operator selects the socket by the room of its id.
func (s RemoteSocket) operator() Operator {
	return Operator{ns: s.ns, target: wire.Selection{Rooms: []string{s.ID}}}
}

// Emit sends an event to the socket; see Operator.Emit. For an acknowledgement, send to the room of its id:
// Namespace.To(s.ID).EmitWithAck.
func (s RemoteSocket) Emit(ctx context.Context, event string, args ...any) error {
	return s.operator().Emit(ctx, event, args...)
}

// Join puts the socket into rooms; see Namespace.Join.
func (s RemoteSocket) Join(ctx context.Context, rooms ...string) error {
	if s.ns == nil {
		return errNoNamespace
	}
	return s.ns.Join(ctx, s.ID, rooms...)
}

// Leave takes the socket out of rooms; see Namespace.Leave.
func (s RemoteSocket) Leave(ctx context.Context, rooms ...string) error {
	if s.ns == nil {
		return errNoNamespace
	}
	return s.ns.Leave(ctx, s.ID, rooms...)
}

// Disconnect disconnects the socket; see Namespace.Disconnect.
func (s RemoteSocket) Disconnect(ctx context.Context, connection bool) error {
	if s.ns == nil {
		return errNoNamespace
	}
	return s.ns.Disconnect(ctx, s.ID, connection)
}
