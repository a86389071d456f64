package main

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// brokerThroughput is Crossroom's Redis broker without what is above it: one
// publishes to a room's channel, another receives every room.
func brokerThroughput(ctx context.Context, e *env) (f figures, err error) {
	fl := newFlow()
	return brokerPair(ctx, e, func() { fl.arrived(1) }, func(publish func(context.Context) error) (figures, error) {
		return flood(ctx, e, fl, publish)
	})
}

// brokerLatency is the same way at a steady pace.
func brokerLatency(ctx context.Context, e *env) (figures, error) {
	p := newPace(e.length)
	return brokerPair(ctx, e, p.arrived, func(publish func(context.Context) error) (figures, error) {
		return p.run(ctx, publish)
	})
}

func brokerPair(ctx context.Context, e *env, arrived func(), run func(publish func(context.Context) error) (figures, error)) (f figures, err error) {
	var both [2]broker.Broker
	for i := range both {
		b, err := redisbroker.Open(e.redis.url(), nil)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.Close(context.WithoutCancel(ctx))) }()
		both[i] = b
	}
	if _, err := both[1].Subscribe(ctx, brokerSink(arrived), broker.SocketIO.EveryRoom("/")); err != nil {
		return nil, err
	}
	channel, payload := broker.SocketIO.Room("/", room), []byte(event)
	return run(func(ctx context.Context) error { return both[0].Publish(ctx, channel, payload) })
}

type brokerSink func()

func (s brokerSink) Deliver(broker.Channel, []byte) { s() }
func (brokerSink) Interrupted(error)                {}
func (brokerSink) Resumed()                         {}
