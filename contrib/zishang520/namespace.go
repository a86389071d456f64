package zishang520

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/zishang520/socket.io/parsers/socket/v3/parser"
	"github.com/zishang520/socket.io/servers/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// namespace is the socket.Adapter of one namespace: the server's in-memory adapter, which it
// embeds, for this server's clients, and Crossroom for those of all other servers.
type namespace struct {
	socket.Adapter
	fleet    *Fleet
	space    *space
	recovers bool // sessions are kept
	own      bool // the server has a parser of its own
	order    *order
	closed   atomic.Bool
	last     atomic.Pointer[encoded]

	mu      sync.Mutex // no callback is called with it held
	members map[socket.SocketId]*member
}

func newNamespace(f *Fleet, nsp socket.Namespace, recovers bool) *namespace {
	a := &namespace{fleet: f, recovers: recovers, order: newOrder(f.run), members: map[socket.SocketId]*member{}}
	a.own = nsp.Server().Opts().Parser() != nil
	a.Adapter = socket.MakeAdapter()
	if recovers {
		a.Adapter = socket.MakeSessionAwareAdapter()
	}
	a.Prototype(a)
	a.Construct(nsp)
	return a
}

// remote returns the namespace in the fleet. It returns nil if that is not open, or if opts select only
// local sockets.
func (a *namespace) remote(opts *socket.BroadcastOptions) *adapter.Namespace {
	if a.closed.Load() || isLocal(opts) {
		return nil
	}
	return a.space.ns.Load()
}

func isLocal(opts *socket.BroadcastOptions) bool {
	return opts != nil && opts.Flags != nil && opts.Flags.Local
}

// Close implements socket.Adapter.
func (a *namespace) Close() {
	a.Adapter.Close()
	if a.closed.Swap(true) {
		return
	}
	a.mu.Lock()
	if ns := a.space.ns.Load(); ns != nil {
		for id := range a.members {
			ns.Remove(string(id))
		}
	}
	clear(a.members)
	a.mu.Unlock()
	a.space.remove(a)
}

// ServerCount implements socket.Adapter. It queries the broker.
func (a *namespace) ServerCount() int64 {
	ns := a.remote(nil)
	if ns == nil {
		return 1
	}
	ctx, cancel := context.WithTimeout(a.fleet.ctx, ns.Server().RequestsTimeout())
	defer cancel()
	n, err := ns.ServerCount(ctx)
	if err != nil {
		a.fault("count servers", err)
	}
	return int64(max(n, 1))
}

func (a *namespace) fault(what string, err error) {
	if err != nil && !a.closed.Load() {
		a.fleet.fault(fmt.Errorf("zishang520: %s in %.100q: %w", what, a.Nsp().Name(), err))
	}
}

// AddAll implements socket.Adapter.
func (a *namespace) AddAll(id socket.SocketId, rooms *types.Set[socket.Room]) {
	a.Adapter.AddAll(id, rooms)
	a.mirror(id, rooms.Keys()...)
}

// Del implements socket.Adapter.
func (a *namespace) Del(id socket.SocketId, room socket.Room) {
	a.Adapter.Del(id, room)
	a.mirror(id, room)
}

// DelAll implements socket.Adapter.
func (a *namespace) DelAll(id socket.SocketId) {
	a.Adapter.DelAll(id)
	a.mirror(id)
}

// mirror passes to the fleet whether a socket is in these rooms now. Of concurrent calls, the last one
// sees the last state.
func (a *namespace) mirror(id socket.SocketId, rooms ...socket.Room) {
	if a.closed.Load() {
		return
	}
	ns := a.space.ns.Load()
	if ns == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	in, ok := a.Sids().Load(id)
	m := a.members[id]
	switch {
	case !ok:
		if m != nil {
			delete(a.members, id)
			ns.Remove(string(id))
		}
		return
	case m == nil:
		m = &member{a, id}
		if err := ns.Add(a.fleet.ctx, m); err != nil {
			a.fault("add a socket", err)
			return
		}
		a.members[id] = m
		rooms = in.Keys()
	}
	var join, leave []string
	for _, room := range rooms {
		if in.Has(room) {
			join = append(join, string(room))
		} else {
			leave = append(leave, string(room))
		}
	}
	if len(join) > 0 {
		a.fault("join", ns.Join(a.fleet.ctx, string(id), join...))
	}
	if len(leave) > 0 {
		a.fault("leave", ns.Leave(a.fleet.ctx, string(id), leave...))
	}
}

func (a *namespace) mirrorAll() {
	for _, id := range a.Sids().Keys() {
		a.mirror(id)
	}
}

// target selects the sockets of other servers.
func target(ns *adapter.Namespace, opts *socket.BroadcastOptions) adapter.Operator {
	o := ns.All().Remote()
	if opts == nil {
		return o
	}
	if rooms := names(opts.Rooms); len(rooms) > 0 { // none means all
		o = o.To(rooms...)
	}
	o = o.Except(names(opts.Except)...)
	if f := opts.Flags; f != nil {
		if f.Volatile {
			o = o.Volatile()
		}
		if f.Compress != nil {
			o = o.Compress(*f.Compress)
		}
		if f.Timeout != nil {
			o = o.Timeout(*f.Timeout)
		}
	}
	return o
}

func names(rooms *types.Set[socket.Room]) []string {
	if rooms == nil {
		return nil
	}
	list := make([]string, 0, rooms.Len())
	for _, room := range rooms.Keys() {
		list = append(list, string(room))
	}
	return list
}

// event splits a packet into event name and arguments. It reads readers in it, once for all clients.
func (a *namespace) event(packet *parser.Packet) (event string, args []any, err error) {
	data, ok := packet.Data.([]any)
	if !ok || len(data) == 0 {
		return "", nil, errors.New("zishang520: read a packet: it has no event")
	}
	if data, err = outgoing(data, false); err != nil {
		return "", nil, err
	}
	packet.Data = data
	if event, ok = data[0].(string); !ok {
		return "", nil, fmt.Errorf("zishang520: read a packet: the event name has type %T", data[0])
	}
	return event, data[1:len(data):len(data)], nil
}

// Broadcast implements socket.Adapter.
func (a *namespace) Broadcast(packet *parser.Packet, opts *socket.BroadcastOptions) {
	event, args, err := a.event(packet)
	// A packet with an id is for one local socket, which has the callback.
	withID := packet.Id != nil
	a.Adapter.Broadcast(packet, opts)
	ns := a.remote(opts)
	if ns == nil || withID {
		return
	}
	if err == nil && !a.own {
		args, err = outgoing(args, true)
	}
	if err != nil {
		a.fault("broadcast", err)
		return
	}
	to := target(ns, opts)
	a.order.do(func() { a.fault("broadcast", to.Emit(a.fleet.ctx, event, args...)) }, a.mayQuery(opts))
}

// mayQuery reports whether a broadcast may wait for other servers: old servers are queried for their
// sockets in excluded rooms.
func (a *namespace) mayQuery(opts *socket.BroadcastOptions) bool {
	if opts == nil || opts.Except == nil {
		return false
	}
	for _, room := range opts.Except.Keys() {
		if _, own := a.Sids().Load(socket.SocketId(room)); !own {
			return true
		}
	}
	return false
}

// BroadcastWithAck implements socket.Adapter.
func (a *namespace) BroadcastWithAck(packet *parser.Packet, opts *socket.BroadcastOptions, count func(uint64), ack socket.Ack) {
	event, args, err := a.event(packet)
	a.Adapter.BroadcastWithAck(packet, opts, count, ack)
	if isLocal(opts) {
		for range a.ServerCount() - 1 {
			count(0) // the caller counts all servers
		}
		return
	}
	ns := a.remote(opts)
	if ns == nil {
		return
	}
	if err == nil && !a.own {
		args, err = outgoing(args, true)
	}
	if err != nil {
		a.fault("broadcast with acknowledgement", err)
		return
	}
	to := target(ns, opts)
	a.order.do(func() {
		sent := make(chan struct{})
		a.fleet.run(func() {
			out := sync.OnceFunc(func() { close(sent) })
			defer out()
			_, err := to.EmitWithAckFunc(a.fleet.ctx, adapter.AckFuncs{
				Sent:     out,
				Expected: func(_ string, n int) { count(uint64(n)) },
				Value:    func(_ string, v any) { ack([]any{incoming(v)}, nil) },
			}, event, args...)
			if !errors.Is(err, context.DeadlineExceeded) { // the caller has a timer
				a.fault("broadcast with acknowledgement", err)
			}
		})
		<-sent
	}, true)
}

// AddSockets implements socket.Adapter.
func (a *namespace) AddSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.Adapter.AddSockets(opts, rooms)
	a.change("join", opts, func(to adapter.Operator) error {
		return to.SocketsJoin(a.fleet.ctx, texts(rooms)...)
	})
}

// DelSockets implements socket.Adapter.
func (a *namespace) DelSockets(opts *socket.BroadcastOptions, rooms []socket.Room) {
	a.Adapter.DelSockets(opts, rooms)
	a.change("leave", opts, func(to adapter.Operator) error {
		return to.SocketsLeave(a.fleet.ctx, texts(rooms)...)
	})
}

// DisconnectSockets implements socket.Adapter.
func (a *namespace) DisconnectSockets(opts *socket.BroadcastOptions, status bool) {
	a.Adapter.DisconnectSockets(opts, status)
	a.change("disconnect", opts, func(to adapter.Operator) error {
		return to.DisconnectSockets(a.fleet.ctx, status)
	})
}

// change calls do with the selected sockets of other servers.
func (a *namespace) change(what string, opts *socket.BroadcastOptions, do func(adapter.Operator) error) {
	if ns := a.remote(opts); ns != nil {
		to := target(ns, opts)
		a.order.do(func() { a.fault(what, do(to)) }, true)
	}
}

func texts(rooms []socket.Room) []string {
	list := make([]string, len(rooms))
	for i, room := range rooms {
		list[i] = string(room)
	}
	return list
}

// errNotOpen returns why requests to other servers fail: the namespace is not open.
func (a *namespace) errNotOpen() error {
	ended, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	return fmt.Errorf("zishang520: namespace %.100q is not open: %w", a.Nsp().Name(), a.space.wait(ended))
}
