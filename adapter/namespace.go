package adapter

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Namespace is one Socket.IO namespace on this server: its local sockets, their rooms, and the methods that reach
// those of other nodes. Server.Of returns it. All methods are safe for concurrent use.
type Namespace struct {
	server  *Server
	name    string
	rooms   *rooms.Registry[backplane.Member]
	legs    []*leg
	home    *leg                 // the first one: it has the local sockets
	fleet   fleet                // over all legs
	isLocal func(id string) bool // made once, because each Emit passes it on
	live    atomic.Bool          // legs are complete, and Of has returned it

	dedup  multilink.Dedup
	shared *multilink.Set // all links together

	mu       sync.RWMutex
	hook     CustomHook
	handlers map[heardEvent][]*listener
}

func newNamespace(s *Server, name string) *Namespace {
	ns := &Namespace{
		server: s, name: name, rooms: rooms.New[backplane.Member](),
		legs:     make([]*leg, len(s.links)),
		handlers: map[heardEvent][]*listener{},
	}
	ends := make([]*multilink.Link, len(s.links))
	for i, l := range s.links {
		ns.legs[i] = &leg{link: l, codec: newCodec(l.dialect, l.broker, s.opts.MaxAttachments), seen: newGenerationState()}
		ends[i] = &multilink.Link{Key: l.key, V5: l.dialect == V5, Broker: l.broker, Node: l.door, Peers: l.node.KnownPeers}
		ns.legs[i].end = ends[i]
	}
	ns.shared = multilink.NewSet(s.uid, name, ends, &ns.dedup, s.opts.Bridge.options(s.opts.heartbeat(), s.opts.peerTimeout(), &s.bridged, s.report))
	ns.home, ns.fleet = ns.legs[0], ns.legs[0]
	ns.isLocal = func(id string) bool { _, local := ns.rooms.Member(id); return local }
	if len(ns.legs) > 1 {
		ns.fleet = &several{uid: s.uid, namespace: name, legs: ns.legs, dedup: &ns.dedup, shared: ns.shared}
	}
	return ns
}

// open makes the namespace live on the links where it is not yet.
func (ns *Namespace) open(ctx context.Context) error {
	err := eachLeg(ns.legs, func(i int, l *leg) error {
		if l.ns != nil {
			return nil
		}
		opts := &backplane.NamespaceOptions{
			Prepare: ns.prepare, Subscription: ns.server.opts.Subscription, OnOperation: ns.server.opts.OnOperation, IsID: ns.server.opts.IsID,
			OnRequest: func(ctx context.Context, from string, payload []byte) ([]byte, error) {
				return ns.serveCustom(ctx, i, from, payload)
			},
			OnEvent: func(ctx context.Context, from string, payload []byte, reply func([]byte)) {
				ns.serveEvent(ctx, i, from, payload, reply)
			},
		}
		if refuse := ns.server.opts.Refuse; refuse != nil {
			opts.Refuse = refuse(ns.name)
		}
		core := &wire.Options{Note: ns.server.report, Codec: l.codec, Rooms: ns.rooms, Shared: i > 0, NewMessage: ns.newMessage}
		if len(ns.legs) > 1 {
			var from *multilink.Origin // of the current delivery
			core.OnBroadcast = func(b *wire.Broadcast) (wanted bool) {
				from, wanted = ns.shared.Accept(i, b)
				return wanted
			}
			core.OnBroadcastEnd = func() { from.End() }
			core.OnLink = func(err error) { ns.shared.Interrupted(i, err) }
		}
		if ns.server.opts.OnBroadcast != nil {
			ns.offer(core)
		}
		live, err := l.door.Open(ctx, ns.name, opts, core)
		if err != nil {
			return err
		}
		ns.legs[i].ns, ns.legs[i].core = live.Public().(*backplane.Namespace), live
		l.end.Core, l.end.Except = live, ns.legs[i].except
		l.look(ctx, ns.name, ns.server.report)
		limited, cancel := l.within(ctx)
		defer cancel()
		_ = ns.legs[i].lately(limited) // so that an outage does not come first
		return nil
	})
	if err != nil {
		return err
	}
	ns.shared.Start()
	return nil
}

// offer makes the core call Options.OnBroadcast.
func (ns *Namespace) offer(core *wire.Options) {
	heard, end := core.OnBroadcast, core.OnBroadcastEnd
	core.OnBroadcast = func(b *wire.Broadcast) bool {
		if heard != nil && !heard(b) {
			return false
		}
		p := ns.newMessage().(*backplane.Message).Value.(*Packet)
		p.msg.Namespace, p.msg.Origin, p.msg.Header, p.msg.Payload = ns.name, b.Origin, b.Header, b.Payload
		p.msg.Volatile, p.msg.NoCompress = b.Flags&wire.Volatile != 0, b.Flags&wire.NoCompress != 0
		wanted := false
		defer func() {
			if !wanted && end != nil {
				end()
			}
		}()
		wanted = ns.server.opts.OnBroadcast(p, b.Rooms, b.Except)
		return wanted
	}
}

var errNotOpen = errors.New("adapter: the namespace is still being opened")

// begun reports whether the namespace is live on any link.
func (ns *Namespace) begun() bool {
	return slices.ContainsFunc(ns.legs, func(l *leg) bool { return l.ns != nil })
}

// Close leaves the namespace: other nodes do not count this one any more, and its sockets receive nothing more. Close
// does not disconnect them: do that first. It waits for running callbacks until ctx ends and then returns the
// context's error. A callback of the namespace that calls Close waits for itself: call it on another goroutine there.
// Before Server.Of has returned the namespace, Close returns an error and does nothing. Close is idempotent.
//
// Server.Close does this for all namespaces. Close a single one that is not needed for the server's whole life, such
// as one whose name came from a client. Afterwards its methods that need the fleet return backplane.ErrClosed, and
// Server.Of with its name opens a new one, without sockets.
func (ns *Namespace) Close(ctx context.Context) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	if !ns.live.Load() { // a hook may have it before Of has returned
		return errNotOpen
	}
	defer ns.server.leave(ns)()
	ns.shared.Close(ctx)
	return multilink.First(multilink.Each(ns.legs, func(l *leg) error { return l.ns.Close(ctx) })...)
}

// Name returns the namespace's name, with its slash.
func (ns *Namespace) Name() string { return ns.name }

// Server returns the server it is a part of.
func (ns *Namespace) Server() *Server { return ns.server }

// Add adds a socket to the namespace. It does no I/O, except that in dynamic mode (Options.Subscription) it waits until
// the broker has subscribed to the room of the socket's id. During an interruption it does not wait. It returns a
// *backplane.NameError for a nil socket or an unusable id, a *backplane.OpError that wraps backplane.ErrMemberExists or
// the reason why the room cannot be subscribed to, backplane.ErrClosed, or the context's error. After an error the
// socket was not added.
func (ns *Namespace) Add(ctx context.Context, s Socket) error {
	if v := reflect.ValueOf(s); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return wire.FromAdapter(&backplane.NameError{What: "socket", Reason: "nil"})
	}
	return ns.home.ns.Add(ctx, newMember(ns, s))
}

// Remove removes a local socket and its rooms. It returns false if this server does not have the socket. It does no I/O
// and does not call the socket.
func (ns *Namespace) Remove(id string) bool { return ns.home.ns.Remove(id) }

// Socket returns the local socket with that id.
func (ns *Namespace) Socket(id string) (Socket, bool) {
	m, ok := ns.rooms.Member(id)
	if !ok {
		return nil, false
	}
	return socketOf(m), true
}

// socketOf returns the socket of a member that newMember has made.
func socketOf(m backplane.Member) Socket {
	if a, ok := m.(*ackMember); ok {
		return a.socket
	}
	return m.(*member).socket
}

// LocalRoomsOf returns the rooms of a local socket, including that of its own id, in no order; false if this server
// does not have the socket. The caller owns the slice. ClientRooms queries the fleet.
func (ns *Namespace) LocalRoomsOf(id string) ([]string, bool) { return ns.rooms.RoomsOf(id) }

// LocalRooms returns the rooms that have sockets on this server, including those named by the sockets' ids, in no
// order. The caller owns the slice. AllRooms queries the fleet.
func (ns *Namespace) LocalRooms() []string { return ns.rooms.Names() }

// LocalSockets iterates over the sockets of this server that o selects, in no order. They are a snapshot of the moment
// at which the loop begins, and no lock is held while it runs. An Operator that is Remote has none.
func (o Operator) LocalSockets() iter.Seq[Socket] {
	return func(yield func(Socket) bool) {
		if o.ns == nil {
			return
		}
		for m := range o.ns.home.ns.LocalMembers(target(o.target)) {
			if !yield(socketOf(m)) {
				return
			}
		}
	}
}

// Len returns the number of local sockets.
func (ns *Namespace) Len() int { return ns.rooms.Len() }

// Join puts a socket into rooms: a local one at once, or in dynamic mode (Options.Subscription) when the broker has
// subscribed to rooms that are new here; one of another node by a request to the fleet, which confirms it. Joining
// twice is no error. If no node has the socket, the error wraps backplane.ErrNoSuchMember and comes as soon as every
// known node has responded. If a node that may have it did not respond, the error wraps a *backplane.PartialError:
// repeat the call. A socket of another node takes one request for each room: after an error it may be in some of them.
// Other errors are a *backplane.NameError (also for a room that Options.IsID keeps for another socket),
// backplane.ErrClosed, the context's error, and in dynamic mode a *backplane.OpError with the broker's or the context's
// error, after which nothing has changed. Without rooms Join returns nil at once. In dialect v5 a room with the name of
// a property of every JavaScript object, such as toString, is a *backplane.NameError unless the socket is local.
func (ns *Namespace) Join(ctx context.Context, id string, rooms ...string) error {
	if len(rooms) == 0 {
		return ns.home.ns.Join(ctx, id)
	}
	return ns.onSocket(ctx, id, func(ctx context.Context, l *leg) error {
		if _, local := ns.rooms.Member(id); !local {
			if err := l.codec.CheckJoin(rooms); err != nil {
				return err
			}
		}
		return l.ns.Join(ctx, id, rooms...)
	})
}

// Leave takes a socket out of rooms, like Join. Leaving a room that the socket is not in is no error.
func (ns *Namespace) Leave(ctx context.Context, id string, rooms ...string) error {
	if len(rooms) == 0 {
		return ns.home.ns.Leave(ctx, id)
	}
	return ns.onSocket(ctx, id, func(ctx context.Context, l *leg) error { return l.ns.Leave(ctx, id, rooms...) })
}

// Disconnect disconnects a socket, on any node; with connection, including its connection. Errors are as with Join.
func (ns *Namespace) Disconnect(ctx context.Context, id string, connection bool) error {
	return ns.onSocket(ctx, id, func(ctx context.Context, l *leg) error { return l.ns.Disconnect(ctx, id, connection) })
}

// onSocket carries out an operation on one socket, on any node.
func (ns *Namespace) onSocket(ctx context.Context, id string, f func(context.Context, *leg) error) error {
	if ctx == nil {
		return backplane.ErrNilContext
	}
	if _, local := ns.rooms.Member(id); local {
		return f(ctx, ns.home)
	}
	return ns.fleet.onSocket(ctx, f)
}
