package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
	"github.com/crossroom/crossroom/adapter"
)

// Socket is one client in one namespace. It implements adapter.AckSocket and
// adapter.Describer. All methods are safe for concurrent use.
type Socket struct {
	id     string
	conn   *conn
	ns     *namespace
	auth   map[string]any
	data   atomic.Value // boxed
	ctx    context.Context
	cancel context.CancelFunc

	turn sync.Mutex // held while a function of the Handler runs for the socket
	gone bool       // guarded by conn.mu

	acks acks
}

type boxed struct{ v any }

// ErrDisconnected is returned when the client has left the namespace.
var ErrDisconnected = errors.New("socketio: disconnected")

func newSocket(c *conn, ns *namespace, auth map[string]any) *Socket {
	s := &Socket{id: newID(), conn: c, ns: ns, auth: auth}
	s.ctx, s.cancel = context.WithCancel(c.life)
	return s
}

// ID returns the socket's id, in the sense of Socket.IO. It is new with each connection.
func (s *Socket) ID() string { return s.id }

// Namespace returns the adapter's namespace of the socket.
func (s *Socket) Namespace() *adapter.Namespace { return s.ns.Namespace }

// Rooms returns the rooms of the client, including that of its own id; nil after it has left.
func (s *Socket) Rooms() []string {
	all, _ := s.ns.LocalRoomsOf(s.id)
	var rooms []string
	for _, room := range all {
		if name, is := strings.CutPrefix(room, s.ns.handler.RoomPrefix); is {
			rooms = append(rooms, name)
		}
	}
	return rooms
}

// named returns the adapter's names of rooms.
func (s *Socket) named(rooms []string) []string {
	names := make([]string, len(rooms))
	for i, room := range rooms {
		names[i] = s.ns.handler.RoomPrefix + room
	}
	return names
}

// Join puts the client into rooms, at once. After the client has left, errors are those of adapter.Namespace.Join for
// an unknown socket.
func (s *Socket) Join(ctx context.Context, rooms ...string) error {
	return s.ns.Join(ctx, s.id, s.named(rooms)...)
}

// Leave takes the client out of rooms, like Join. Disconnect makes it leave the namespace.
func (s *Socket) Leave(ctx context.Context, rooms ...string) error {
	return s.ns.Leave(ctx, s.id, s.named(rooms)...)
}

// To selects all sockets in any of the rooms, on all nodes, except the client itself. It works also after the client
// has left.
func (s *Socket) To(rooms ...string) adapter.Operator { return s.Others().To(s.named(rooms)...) }

// In is To, and selects the client too.
func (s *Socket) In(rooms ...string) adapter.Operator { return s.ns.To(s.named(rooms)...) }

// Others selects all sockets of the namespace, on all nodes, except the client itself.
func (s *Socket) Others() adapter.Operator { return s.ns.All().Except(s.id) }

// Handshake returns how the client connected, including Auth. It is shared: read-only.
func (s *Socket) Handshake() *adapter.Handshake {
	h := *s.conn.handshake
	h.Auth = s.auth
	return &h
}

// BindAuth stores the client's authentication payload in what dst points to, like encoding/json.
func (s *Socket) BindAuth(dst any) error {
	if s.auth == nil {
		return errors.New("socketio: the client sent no auth payload")
	}
	return adapter.BindArgs([]any{s.auth}, dst)
}

// SetData sets the data that FetchSockets returns for the socket on every node, encoded as JSON. The data must not be
// changed afterwards.
func (s *Socket) SetData(data any) { s.data.Store(boxed{data}) }

// Data returns the data of sockets on all nodes, of those whose data fits T.
func Data[T any](of *adapter.Sockets) []T {
	all := make([]T, 0, len(of.List))
	for _, s := range of.List {
		var data T
		if json.Unmarshal(s.Data, &data) == nil {
			all = append(all, data)
		}
	}
	return all
}

// Data returns the argument of SetData.
func (s *Socket) Data() any {
	b, _ := s.data.Load().(boxed)
	return b.v
}

// Describe implements adapter.Describer.
func (s *Socket) Describe() adapter.Description {
	return adapter.Description{Handshake: s.Handshake(), Data: s.Data()}
}

// Deliver implements adapter.Socket: it puts the packet into the connection's queue.
func (s *Socket) Deliver(p *adapter.Packet) { s.send(p.Frames(), p.Volatile()) }

// DeliverWithAck implements adapter.AckSocket.
func (s *Socket) DeliverWithAck(p *adapter.Packet, ack func(args ...any)) {
	id := s.acks.expect(ack)
	s.send(p.AckFrames(id), p.Volatile())
}

// send returns false if the connection's queue dropped the packet.
func (s *Socket) send(f adapter.Frames, volatile bool) bool {
	if f.Engine == nil { // a packet of another server that no client could read
		return true
	}
	return s.ctx.Err() == nil && s.conn.send(f, volatile)
}

// Emit sends an event to this client only. It returns when the event is queued. To reach clients of other nodes, use
// Namespace. Arguments and errors are those of adapter.Operator.Emit, or ErrDisconnected.
func (s *Socket) Emit(event string, args ...any) error {
	p, err := s.ns.NewPacket(event, args...)
	if err != nil {
		return err
	}
	if !s.send(p.Frames(), false) {
		return ErrDisconnected
	}
	return nil
}

// EmitWithAck sends an event to this client only and waits for its acknowledgement, until ctx ends. The values are for
// adapter.BindArgs.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) ([]any, error) {
	p, err := s.ns.NewPacket(event, args...)
	if err != nil {
		return nil, err
	}
	answer := make(chan []any, 1)
	id := s.acks.expect(func(args ...any) { answer <- args })
	defer func() { s.acks.forget(id) }()
	if !s.send(p.AckFrames(id), false) {
		return nil, ErrDisconnected
	}
	select {
	case args := <-answer:
		return args, nil
	case <-s.ctx.Done():
		return nil, ErrDisconnected
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Disconnect implements adapter.Socket: the client leaves the namespace, or, with close, loses its connection. It gets
// all earlier packets first. Clients do not reconnect by themselves after that.
func (s *Socket) Disconnect(close bool) {
	if !close {
		s.leave(ServerDisconnect)
		return
	}
	c := s.conn
	c.mu.Lock()
	for _, other := range c.sockets {
		c.leave(other, ServerDisconnect)
	}
	c.mu.Unlock()
	c.end(ServerDisconnect, websocket.StatusNormalClosure, "")
}

// Go runs f on a goroutine of its own, which the server waits for when it closes. It is for work that should not delay
// the client's later events. It returns when f has started, which may take until another function of the same
// connection has returned (Options.MaxTasks); so do not call it within f. If the client has left, f is not called. ctx
// ends when the client leaves.
func (s *Socket) Go(f func(ctx context.Context)) {
	c := s.conn
	select {
	case c.tasks <- struct{}{}:
	case <-s.ctx.Done():
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.gone {
		<-c.tasks
		return
	}
	c.wg.Go(func() {
		defer func() { <-c.tasks }()
		f(s.ctx)
	})
}

// leave takes the socket out of its namespace.
func (s *Socket) leave(reason Reason) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.conn.leave(s, reason)
}

// leave takes a socket out of its namespace and notifies the client, unless the client left by itself. The caller
// holds c.mu.
func (c *conn) leave(s *Socket, reason Reason) {
	if s.gone || c.reason != "" {
		return
	}
	name := s.ns.Name()
	if reason != ClientDisconnect {
		if c.removed == nil {
			c.removed = make(map[string]struct{}, 1)
		}
		c.removed[name] = struct{}{}
	}
	c.detach(s, reason)
	if reason != ClientDisconnect {
		c.send(frames(kindDisconnect, name, nil), false)
	}
	if len(c.sockets) == 0 && c.reason == "" {
		c.homeless.Reset(c.server.opts.ConnectTimeout)
	}
}

// detach removes a socket from the fleet. The caller holds c.mu.
func (c *conn) detach(s *Socket, reason Reason) {
	if s.gone {
		return
	}
	s.gone = true
	delete(c.sockets, s.ns.Name())
	rooms := s.Rooms()
	s.ns.Remove(s.id)
	s.cancel()
	if s.ns.handler.Disconnect == nil {
		return
	}
	c.wg.Go(func() {
		s.turn.Lock()
		defer s.turn.Unlock()
		s.ns.handler.Disconnect(c.life, s, reason, rooms)
	})
}

// run calls a function of the Handler, unless the socket has left meanwhile.
func (s *Socket) run(f func()) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.ctx.Err() == nil {
		f()
	}
}

func (s *Socket) onEvent(p *packet) {
	handle := s.ns.handler.Events[p.event]
	if handle == nil {
		s.conn.server.unhandled.Add(1)
		return
	}
	s.run(func() { handle(s.ctx, s, &Event{Name: p.event, Args: p.args, socket: s, id: p.id, asks: p.hasID}) })
}

func (s *Socket) onAnswer(p *packet) {
	if ack := s.acks.forget(p.id); ack != nil {
		ack(p.args...)
	}
}
