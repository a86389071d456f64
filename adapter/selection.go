package adapter

import (
	"context"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/wire"
)

// SocketsJoin puts the selected sockets into rooms, on all nodes. Go nodes confirm. Node.js servers do not, so nil
// does not mean that they have done it. A *backplane.PartialError names the nodes that did not confirm. In dialect v5
// the operation takes several steps, all confirmed. It changes nothing if a node does not respond with its excepted
// sockets, or if a room has a name that Namespace.Join refuses for sockets of other nodes.
func (o Operator) SocketsJoin(ctx context.Context, rooms ...string) error {
	if o.emitter != nil {
		return o.emitter.change(ctx, "SocketsJoin", &o.target, &wire.Request{Op: wire.OpJoin, Targets: rooms})
	}
	if err := o.check(ctx); err != nil {
		return err
	}
	if !o.target.LocalOnly {
		if err := o.ns.fleet.joinable(rooms); err != nil {
			return err
		}
	}
	return o.change(ctx, wire.OpJoin,
		func(ctx context.Context, l *leg, t wire.Selection) (*backplane.Count, error) {
			return l.ns.JoinAll(ctx, target(t), rooms...)
		},
		func(ctx context.Context, l *leg, id string) error { return l.ns.Join(ctx, id, rooms...) })
}

// SocketsLeave takes the selected sockets out of rooms, like SocketsJoin.
func (o Operator) SocketsLeave(ctx context.Context, rooms ...string) error {
	if o.emitter != nil {
		return o.emitter.change(ctx, "SocketsLeave", &o.target, &wire.Request{Op: wire.OpLeave, Targets: rooms})
	}
	return o.change(ctx, wire.OpLeave,
		func(ctx context.Context, l *leg, t wire.Selection) (*backplane.Count, error) {
			return l.ns.LeaveAll(ctx, target(t), rooms...)
		},
		func(ctx context.Context, l *leg, id string) error { return l.ns.Leave(ctx, id, rooms...) })
}

// DisconnectSockets disconnects the selected sockets from the namespace, like SocketsJoin; with connection, including
// their connections. Reason gives the sockets of Go nodes a reason.
func (o Operator) DisconnectSockets(ctx context.Context, connection bool) error {
	if o.emitter != nil {
		return o.emitter.change(ctx, "DisconnectSockets", &o.target, &wire.Request{Op: wire.OpDisconnect, Close: connection})
	}
	return o.change(ctx, wire.OpDisconnect,
		func(ctx context.Context, l *leg, t wire.Selection) (*backplane.Count, error) {
			return l.ns.DisconnectAll(ctx, target(t), connection)
		},
		func(ctx context.Context, l *leg, id string) error {
			return l.core.Disconnect(ctx, id, connection, o.target.Reason)
		})
}

// change carries out an operation on the selected sockets: on local ones once, whatever the state of the brokers, then
// on those of other servers in the form of each dialect.
func (o Operator) change(ctx context.Context, op wire.Op, all onSelection, one onSocket) error {
	if err := o.check(ctx); err != nil {
		return err
	}
	if o.target.LocalOnly || o.target.Nobody() {
		_, err := all(ctx, o.ns.home, o.target)
		return err
	}
	var err error
	if o.target, err = o.ns.resolved(ctx, o.target); err != nil {
		return err
	}
	return o.ns.fleet.change(ctx, op, o.target, all, one)
}

// check refuses operations that need a namespace's operator.
func (o Operator) check(ctx context.Context) error {
	switch {
	case ctx == nil:
		return backplane.ErrNilContext
	case o.emitter != nil:
		return errEmitterAsks
	case o.ns == nil:
		return errNoNamespace
	}
	return nil
}
