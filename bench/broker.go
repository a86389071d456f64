package main

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// opener opens a Crossroom broker on one of the servers, as a user would.
type opener func(ctx context.Context, e *env) (broker.Broker, error)

func openRedis(_ context.Context, e *env) (broker.Broker, error) {
	return redisbroker.Open(e.redis.URL, nil)
}

func openNATS(ctx context.Context, e *env) (broker.Broker, error) {
	url, err := e.natsURL(ctx)
	if err != nil {
		return nil, err
	}
	return natsbroker.Open(url, nil)
}

// brokerOnRedis is Crossroom's Redis broker without what is above it.
func brokerOnRedis(ctx context.Context, e *env, arrived func(), run withPublish) (figures, error) {
	return brokerPair(ctx, e, openRedis, []byte(event), arrived, run)
}

// brokerOnNATS is the same on NATS, with the event as a node sends it.
func brokerOnNATS(ctx context.Context, e *env, arrived func(), run withPublish) (figures, error) {
	sample, err := e.natsSample(ctx)
	if err != nil {
		return nil, err
	}
	const frame = 16 // bytes that the broker puts before what it is given
	return brokerPair(ctx, e, openNATS, sample.Data[frame:], arrived, run)
}

// brokerPair is a broker that publishes to a room's channel and another that receives
// every room.
func brokerPair(ctx context.Context, e *env, open opener, payload []byte, arrived func(), run withPublish) (f figures, err error) {
	var both [2]broker.Broker
	for i := range both {
		b, err := open(ctx, e)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.Close(context.WithoutCancel(ctx))) }()
		both[i] = b
	}
	if _, err := both[1].Subscribe(ctx, brokerSink(arrived), broker.SocketIO.EveryRoom("/")); err != nil {
		return nil, err
	}
	channel := broker.SocketIO.Room("/", room)
	return run(func(ctx context.Context) error { return both[0].Publish(ctx, channel, payload) })
}

type brokerSink func()

func (s brokerSink) Deliver(broker.Channel, []byte) { s() }
func (brokerSink) Interrupted(error)                {}
func (brokerSink) Resumed()                         {}
