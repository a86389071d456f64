package backplane

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// The functions that package adapter uses beyond the public methods. Package wire documents each.

func init() {
	wire.FromAdapter = fromAdapter
	wire.CauseOf, wire.Merged = causeOf, merged
	wire.PanicStack = panicStack
	wire.NodeOf = func(n any) wire.Node { return nodeDoor{n.(*Node)} }
	wire.NewSender = func(b broker.Broker, id string, c wire.Codec, opts any) (wire.Sender, error) {
		s, err := newSender(b, id, c, opts.(*EmitterOptions))
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

type nodeDoor struct{ n *Node }

func (d nodeDoor) PeersChanged() <-chan struct{} { return d.n.members.Changed() }

func (d nodeDoor) Notes(f func(error)) { d.n.health.outage.log = f }

func (d nodeDoor) Leave() bool { return d.n.leave() }

func (d nodeDoor) Since() time.Time { return d.n.since }

func (d nodeDoor) Lease() (since, until time.Time) { return d.n.members.Lease() }

func (d nodeDoor) Holds(since time.Time) bool { return d.n.members.Holds(since) }

func (d nodeDoor) Open(ctx context.Context, name string, public any, o *wire.Options) (wire.Namespace, error) {
	ns, err := d.n.namespace(ctx, name, public.(*NamespaceOptions), o)
	if err != nil {
		return nil, err
	}
	return namespaceDoor{ns}, nil
}

type namespaceDoor struct{ ns *Namespace }

func (d namespaceDoor) Public() any { return d.ns }

func (d namespaceDoor) Broadcast(ctx context.Context, payload []byte, s wire.Selection) error {
	return d.ns.broadcast(ctx, payload, &s)
}

func (d namespaceDoor) Disconnect(ctx context.Context, id string, close bool, reason string) error {
	return d.ns.disconnect(ctx, id, close, reason)
}

func (d namespaceDoor) BroadcastAck(ctx context.Context, payload []byte, s wire.Selection, timeout time.Duration, on wire.AckFuncs) (any, error) {
	return d.ns.broadcastAck(ctx, payload, &s, timeout, AckFuncs(on))
}

func (d namespaceDoor) EachMember(ctx context.Context, s wire.Selection, yield func(wire.MemberInfo) bool) (any, error) {
	return d.ns.eachMember(ctx, &s, func(m MemberInfo) bool { return yield(wire.MemberInfo(m)) })
}

func (d namespaceDoor) EachRoom(ctx context.Context, yield func(string) bool) (any, error) {
	return d.ns.eachRoom(ctx, yield)
}

func (d namespaceDoor) Foreign(ctx context.Context) (wire.Unannounced, error) {
	return d.ns.foreign(ctx)
}
