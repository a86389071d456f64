package main

import (
	"context"
	"fmt"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
)

// node is a server with one namespace, configured like a user's.
type node struct {
	server *adapter.Server
	ns     *adapter.Namespace
}

func newNode(ctx context.Context, s *stage, open opener) (*node, error) {
	b, err := with(ctx, s, open)
	if err != nil {
		return nil, err
	}
	return nodeOn(ctx, s, b, nil)
}

func nodeOn(ctx context.Context, s *stage, b broker.Broker, opts *adapter.Options) (*node, error) {
	server, err := adapter.New(b, opts)
	if err != nil {
		return nil, err
	}
	s.later(func() error { return server.Close(context.WithoutCancel(ctx)) })
	ns, err := server.Of(ctx, "/")
	return &node{server, ns}, err
}

// emits publishes the event to the room.
func (n *node) emits(ctx context.Context) error { return n.ns.To(room).Emit(ctx, "event", event) }

// sink is a socket that only reports that a packet arrived.
type sink struct {
	id      string
	arrived func()
}

func (s *sink) ID() string              { return s.id }
func (s *sink) Deliver(*adapter.Packet) { s.arrived() }
func (s *sink) Disconnect(bool)         {}

func join(ctx context.Context, ns *adapter.Namespace, s adapter.Socket, rooms ...string) error {
	if err := ns.Add(ctx, s); err != nil {
		return err
	}
	return ns.Join(ctx, s.ID(), rooms...)
}

// crossroomOn is the whole path: encode, publish, receive, find the sockets of the room, deliver. The publisher is a
// full node, which receives its own messages too, like the publisher of the contender called node.
func crossroomOn(open opener) way {
	return func(ctx context.Context, s *stage, arrived func()) (publish, error) {
		publisher, err := newNode(ctx, s, open)
		if err != nil {
			return nil, err
		}
		receiver, err := newNode(ctx, s, open)
		if err != nil {
			return nil, err
		}
		return publisher.emits, join(ctx, receiver.ns, &sink{"sink", arrived}, room)
	}
}

// emitter has an Emitter as its publisher, which subscribes to nothing, like a process that only sends.
func emitter(ctx context.Context, s *stage, arrived func()) (publish, error) {
	b, err := with(ctx, s, onRedis)
	if err != nil {
		return nil, err
	}
	emitter, err := adapter.NewEmitter(b, nil)
	if err != nil {
		return nil, err
	}
	receiver, err := newNode(ctx, s, onRedis)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return emitter.To(room).Emit(ctx, "event", event) },
		join(ctx, receiver.ns, &sink{"sink", arrived}, room)
}

// crossroomRequest queries four nodes for all rooms.
func crossroomRequest(ctx context.Context, s *stage) (round, error) {
	const nodes, rooms = 4, 10
	var requester *node
	for i := range nodes {
		n, err := newNode(ctx, s, onRedis)
		if err != nil {
			return nil, err
		}
		names := make([]string, rooms)
		for j := range names {
			names[j] = fmt.Sprintf("room %d of node %d", j, i)
		}
		if err := join(ctx, n.ns, &sink{fmt.Sprint("sink ", i), func() {}}, names...); err != nil {
			return nil, err
		}
		requester = n
	}
	if _, err := requester.server.AwaitPeers(ctx, nodes-1); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int64, figures, error) {
		return s.oneByOne(func() error {
			all, err := requester.ns.AllRooms(ctx)
			if err != nil {
				return err
			}
			if got, want := len(all.List), nodes*(rooms+1); got != want { // each sink's own room too
				return fmt.Errorf("%d rooms, want %d", got, want)
			}
			return nil
		})
	}, nil
}

// crossroomCount counts the 1,000 sockets of a room on each of four nodes with ask.
func crossroomCount(room string, ask func(context.Context, adapter.Operator) (int, error)) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		const nodes, sockets = 4, 1000
		var requester *node
		for i := range nodes {
			n, err := newNode(ctx, s, onRedis)
			if err != nil {
				return nil, err
			}
			for j := range sockets {
				if err := join(ctx, n.ns, &sink{fmt.Sprintf("sink %d of node %d, %s", j, i, room), func() {}}, room); err != nil {
					return nil, err
				}
			}
			requester = n
		}
		if _, err := requester.server.AwaitPeers(ctx, nodes-1); err != nil {
			return nil, err
		}
		return func(ctx context.Context) (int64, figures, error) {
			return s.oneByOne(func() error {
				n, err := ask(ctx, requester.ns.To(room))
				if err == nil && n != nodes*sockets {
					err = fmt.Errorf("%d sockets, want %d", n, nodes*sockets)
				}
				return err
			})
		}, nil
	}
}

func counted(ctx context.Context, o adapter.Operator) (int, error) {
	n, err := o.Count(ctx)
	if err != nil {
		return 0, err
	}
	return n.Total, nil
}

func listed(ctx context.Context, o adapter.Operator) (int, error) {
	c, err := o.Clients(ctx)
	if err != nil {
		return 0, err
	}
	return len(c.IDs), nil
}
