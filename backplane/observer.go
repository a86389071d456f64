package backplane

import (
	"context"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// newSource makes the Source of a node on a broker.
func newSource(node string, b broker.Broker) *observe.Source {
	caps := b.Capabilities()
	return &observe.Source{Node: node, System: caps.Name, Prefix: caps.Prefix}
}

// observedNode is a node as observers see it.
type observedNode struct{ n *Node }

func (o observedNode) Source() *observe.Source { return o.n.source }

func (o observedNode) Snapshot() observe.Snapshot {
	s := observe.Snapshot{
		Stats: o.n.Stats(), Broker: o.n.broker.Stats(), Peers: len(o.n.KnownPeers()),
		LastMessage: o.n.members.LastMessage(),
	}
	for _, ns := range o.n.live() {
		members, rooms := ns.rooms.Counts()
		s.Namespaces = append(s.Namespaces, observe.Namespace{
			Name: ns.name, Protocol: ns.protocol.String(), Members: members, Rooms: rooms, Shared: ns.extra.Shared,
			LastMessage: ns.inbound.queue.Last(),
		})
	}
	return s
}

// observed calls a method of the observer that is no Start.
func (n *Node) observed(what string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			n.panicked(what, "", v)
		}
	}()
	call()
}

// observedStart calls a Start method of the observer o, given as a method expression: that
// of every message costs no closure.
func observedStart[O, D any](ctx context.Context, n *Node, what string, start func(O, context.Context, *D) context.Context, o O, d *D) (started context.Context) {
	started = ctx
	defer func() {
		if v := recover(); v != nil {
			n.panicked(what, "", v)
		}
	}()
	if c := start(o, ctx, d); c != nil {
		started = c
	}
	return started
}
