package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
)

// crossroomNode is a server with one namespace, set up as a user would do it.
type crossroomNode struct {
	broker broker.Broker
	server *adapter.Server
	ns     *adapter.Namespace
}

func newCrossroom(ctx context.Context, e *env, open opener) (*crossroomNode, error) {
	b, err := open(ctx, e)
	if err != nil {
		return nil, err
	}
	n := &crossroomNode{broker: b}
	if n.server, err = adapter.New(b, nil); err == nil {
		n.ns, err = n.server.Of(ctx, "/")
	}
	if err != nil {
		return nil, errors.Join(err, n.close(ctx))
	}
	return n, nil
}

func (n *crossroomNode) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	if n.server != nil {
		err = n.server.Close(ctx)
	}
	return errors.Join(err, n.broker.Close(ctx))
}

// sink is a socket that does nothing but tell.
type sink struct {
	id      string
	arrived func()
}

func (s *sink) ID() string              { return s.id }
func (s *sink) Deliver(*adapter.Packet) { s.arrived() }
func (s *sink) Disconnect(bool)         {}

// crossroomPair is a node that publishes and another that has a sink in the room.
func crossroomPair(ctx context.Context, e *env, open opener, arrived func(), run func(publisher, receiver *crossroomNode) (figures, error)) (f figures, err error) {
	var both [2]*crossroomNode
	for i := range both {
		n, err := newCrossroom(ctx, e, open)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, n.close(ctx)) }()
		both[i] = n
	}
	if err := join(ctx, both[1].ns, &sink{"sink", arrived}, room); err != nil {
		return nil, err
	}
	return run(both[0], both[1])
}

func join(ctx context.Context, ns *adapter.Namespace, s adapter.Socket, rooms ...string) error {
	if err := ns.Add(s); err != nil {
		return err
	}
	return ns.Join(ctx, s.ID(), rooms...)
}

// crossroomOn is the whole way: encode, publish, receive, find the sockets of the room,
// deliver. The publisher is a full node, which hears its own messages too, as the
// publisher of the contender called node does.
func crossroomOn(open opener) way {
	return func(ctx context.Context, e *env, arrived func(), run withPublish) (figures, error) {
		return crossroomPair(ctx, e, open, arrived, func(publisher, _ *crossroomNode) (figures, error) {
			return run(func(ctx context.Context) error { return publisher.ns.To(room).Emit(ctx, "event", event) })
		})
	}
}

// emitter has an Emitter for a publisher, which does not listen, as a process has that
// only sends.
func emitter(ctx context.Context, e *env, arrived func(), run withPublish) (f figures, err error) {
	b, err := openRedis(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close(context.WithoutCancel(ctx))) }()
	emitter, err := adapter.NewEmitter(b, nil)
	if err != nil {
		return nil, err
	}
	receiver, err := newCrossroom(ctx, e, openRedis)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, receiver.close(ctx)) }()
	if err := join(ctx, receiver.ns, &sink{"sink", arrived}, room); err != nil {
		return nil, err
	}
	return run(func(ctx context.Context) error { return emitter.To(room).Emit(ctx, "event", event) })
}

// crossroomQuestion asks four nodes for all rooms.
func crossroomQuestion(ctx context.Context, e *env) (f figures, err error) {
	const nodes, rooms = 4, 10
	var asker *crossroomNode
	for i := range nodes {
		n, err := newCrossroom(ctx, e, openRedis)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, n.close(ctx)) }()
		names := make([]string, rooms)
		for j := range names {
			names[j] = fmt.Sprintf("room %d of node %d", j, i)
		}
		if err := join(ctx, n.ns, &sink{fmt.Sprint("sink ", i), func() {}}, names...); err != nil {
			return nil, err
		}
		asker = n
	}
	return repeated(ctx, e.length/2, func(ctx context.Context) error {
		all, err := asker.ns.AllRooms(ctx)
		if err != nil {
			return err
		}
		if got, want := len(all.Rooms), nodes*(rooms+1); got != want { // each sink's own room too
			return fmt.Errorf("%d rooms, want %d", got, want)
		}
		return nil
	})
}
