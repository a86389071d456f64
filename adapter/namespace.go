package adapter

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/rooms"
	"github.com/crossroom/crossroom/internal/wire"
)

// Namespace is one Socket.IO namespace on this server: its local sockets, their
// rooms, and the way to those of other nodes. Get it from Server.Of. All methods
// are safe for concurrent use.
type Namespace struct {
	server  *Server
	name    string
	rooms   *rooms.Registry[backplane.Member]
	legs    []*leg
	home    *leg                 // the first: it has the local sockets
	fleet   fleet                // over all legs
	isLocal func(id string) bool // made once, as each Emit passes it on
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

// open makes the namespace live on those links where it is not yet.
func (ns *Namespace) open(ctx context.Context) error {
	err := eachLeg(ns.legs, func(i int, l *leg) error {
		if l.ns != nil {
			return nil
		}
		opts := &backplane.NamespaceOptions{
			Prepare: ns.prepare, Subscription: ns.server.opts.Subscription,
			OnRequest: func(ctx context.Context, from string, payload []byte) ([]byte, error) {
				return ns.serveCustom(ctx, i, from, payload)
			},
			OnEvent: func(ctx context.Context, from string, payload []byte, reply func([]byte)) {
				ns.serveEvent(ctx, i, from, payload, reply)
			},
		}
		core := &wire.Options{Codec: l.codec, Rooms: ns.rooms, Shared: i > 0, NewMessage: ns.newMessage}
		if len(ns.legs) > 1 {
			var from *multilink.Origin // of what is being delivered
			core.OnBroadcast = func(b *wire.Broadcast) (wanted bool) {
				from, wanted = ns.shared.Hear(i, b)
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

// offer has Options.OnBroadcast called for what the core brings.
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

// Close leaves the namespace: other nodes count this one no more, and its sockets hear
// nothing more. They are not disconnected: that is yours, best before. It waits for
// callbacks under way until ctx ends and then returns its error. So a callback of the
// namespace that calls it waits for itself: call it in a goroutine there. Idempotent.
//
// Server.Close does this for all namespaces. Close one by itself that is not for the
// server's life, such as one whose name came from a client. Afterwards its methods
// that need the fleet return backplane.ErrClosed, and Server.Of with its name opens another one,
// without sockets.
func (ns *Namespace) Close(ctx context.Context) error {
	if !ns.live.Load() { // a hook may have got it before Of returned
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

// Add makes a socket known to the fleet. Errors: *backplane.NameError for a nil
// socket or an id that cannot be used, backplane.ErrMemberExists, backplane.ErrClosed,
// the context's error.
func (ns *Namespace) Add(ctx context.Context, s Socket) error {
	if v := reflect.ValueOf(s); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return &backplane.NameError{What: "socket", Reason: "nil"}
	}
	return ns.home.ns.Add(ctx, newMember(ns, s))
}

// Remove forgets a local socket and its rooms. It returns false if there is none
// with that id.
func (ns *Namespace) Remove(id string) bool { return ns.home.ns.Remove(id) }

// Socket returns the local socket with that id.
func (ns *Namespace) Socket(id string) (Socket, bool) {
	switch m, _ := ns.rooms.Member(id); m := m.(type) {
	case *member:
		return m.socket, true
	case *ackMember:
		return m.socket, true
	}
	return nil, false
}

// LocalRoomsOf returns the rooms of a local socket, its own id's among them, in no order;
// false if there is no such socket. ClientRooms asks the fleet.
func (ns *Namespace) LocalRoomsOf(id string) ([]string, bool) { return ns.rooms.RoomsOf(id) }

// LocalRooms returns the rooms that have sockets on this server, those named by the
// sockets' ids among them, in no order. AllRooms asks the fleet.
func (ns *Namespace) LocalRooms() []string { return ns.rooms.Names() }

// Len returns the number of local sockets.
func (ns *Namespace) Len() int { return ns.rooms.Len() }

// Join puts a socket into rooms: a local one at once, one of another node by asking
// the fleet, which confirms. Joining twice is no error. If nobody has the socket,
// the error wraps backplane.ErrNoSuchMember and comes as soon as every known node has said so.
// Without rooms there is nothing to do: nil, and nobody is asked for the socket. In
// dialect v5 a room with the name of a property that every JavaScript object has, such
// as toString, is a *backplane.NameError unless the socket is a local one.
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

// Leave takes a socket out of rooms, like Join. Leaving a room that it is not in is
// no error.
func (ns *Namespace) Leave(ctx context.Context, id string, rooms ...string) error {
	if len(rooms) == 0 {
		return ns.home.ns.Leave(ctx, id)
	}
	return ns.onSocket(ctx, id, func(ctx context.Context, l *leg) error { return l.ns.Leave(ctx, id, rooms...) })
}

// Disconnect disconnects a socket, wherever it is, with its connection if
// connection is set. Errors are as with Join.
func (ns *Namespace) Disconnect(ctx context.Context, id string, connection bool) error {
	return ns.onSocket(ctx, id, func(ctx context.Context, l *leg) error { return l.ns.Disconnect(ctx, id, connection) })
}

// onSocket does something to one socket, wherever it is.
func (ns *Namespace) onSocket(ctx context.Context, id string, f func(context.Context, *leg) error) error {
	if _, local := ns.rooms.Member(id); local {
		return f(ctx, ns.home)
	}
	return ns.fleet.onSocket(ctx, f)
}
