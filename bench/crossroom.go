package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// crossroomNode is a server with one namespace on the shared Redis, set up as a
// user would do it.
type crossroomNode struct {
	broker broker.Broker
	server *adapter.Server
	ns     *adapter.Namespace
}

func newCrossroom(ctx context.Context, e *env) (*crossroomNode, error) {
	b, err := redisbroker.Open(e.redis.url(), nil)
	if err != nil {
		return nil, err
	}
	return crossroomOn(ctx, b)
}

// crossroomOn makes the node on any broker, and owns that.
func crossroomOn(ctx context.Context, b broker.Broker) (_ *crossroomNode, err error) {
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
func crossroomPair(ctx context.Context, e *env, arrived func(), run func(publisher, receiver *crossroomNode) (figures, error)) (f figures, err error) {
	publisher, err := newCrossroom(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, publisher.close(ctx)) }()
	receiver, err := newCrossroom(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, receiver.close(ctx)) }()
	if err := join(ctx, receiver.ns, &sink{"sink", arrived}, room); err != nil {
		return nil, err
	}
	return run(publisher, receiver)
}

func join(ctx context.Context, ns *adapter.Namespace, s adapter.Socket, rooms ...string) error {
	if err := ns.Add(s); err != nil {
		return err
	}
	return ns.Join(ctx, s.ID(), rooms...)
}

// crossroomThroughput is the whole way: encode, publish, receive, find the sockets
// of the room, deliver. The publisher is a full node, which hears its own messages
// too, as the publisher of the contender called node does.
func crossroomThroughput(ctx context.Context, e *env) (figures, error) {
	f := newFlow()
	return crossroomPair(ctx, e, func() { f.arrived(1) }, func(publisher, _ *crossroomNode) (figures, error) {
		return flood(ctx, e, f, func(ctx context.Context) error {
			return publisher.ns.To(room).Emit(ctx, "event", event)
		})
	})
}

// emitterThroughput has an Emitter for a publisher, which does not listen, as a
// process has that only sends.
func emitterThroughput(ctx context.Context, e *env) (figures, error) {
	f := newFlow()
	return emitterPair(ctx, e, func() { f.arrived(1) }, func(emitter *adapter.Emitter) (figures, error) {
		return flood(ctx, e, f, func(ctx context.Context) error {
			return emitter.To(room).Emit(ctx, "event", event)
		})
	})
}

// emitterLatency is the same way at a steady pace.
func emitterLatency(ctx context.Context, e *env) (figures, error) {
	p := newPace(e.length)
	return emitterPair(ctx, e, p.arrived, func(emitter *adapter.Emitter) (figures, error) {
		return p.run(ctx, func(ctx context.Context) error {
			return emitter.To(room).Emit(ctx, "event", event)
		})
	})
}

// emitterPair is an Emitter and a node that has a sink in the room.
func emitterPair(ctx context.Context, e *env, arrived func(), run func(*adapter.Emitter) (figures, error)) (f figures, err error) {
	b, err := redisbroker.Open(e.redis.url(), nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close(context.WithoutCancel(ctx))) }()
	emitter, err := adapter.NewEmitter(b, nil)
	if err != nil {
		return nil, err
	}
	receiver, err := newCrossroom(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, receiver.close(ctx)) }()
	if err := join(ctx, receiver.ns, &sink{"sink", arrived}, room); err != nil {
		return nil, err
	}
	return run(emitter)
}

// crossroomLatency is the same way at a steady pace.
func crossroomLatency(ctx context.Context, e *env) (figures, error) {
	p := newPace(e.length)
	return crossroomPair(ctx, e, p.arrived, func(publisher, _ *crossroomNode) (figures, error) {
		return p.run(ctx, func(ctx context.Context) error {
			return publisher.ns.To(room).Emit(ctx, "event", event)
		})
	})
}

// crossroomQuestion asks four nodes for all rooms.
func crossroomQuestion(ctx context.Context, e *env) (f figures, err error) {
	const nodes, rooms = 4, 10
	var asker *crossroomNode
	for i := range nodes {
		n, err := newCrossroom(ctx, e)
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
