package main

import (
	"context"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// opener opens a Crossroom broker on one of the servers, as a user would.
type opener func(s *stage) (broker.Broker, error)

func onRedis(s *stage) (broker.Broker, error) { return redisbroker.Open(s.redis.URL, nil) }

func onNATS(s *stage) (broker.Broker, error) { return natsbroker.Open(s.nats.URL, nil) }

// with returns the broker that an opener opens, and closes it later.
func with(ctx context.Context, s *stage, open opener) (broker.Broker, error) {
	b, err := open(s)
	if err == nil {
		s.later(func() error { return b.Close(context.WithoutCancel(ctx)) })
	}
	return b, err
}

// brokerOnRedis is Crossroom's Redis broker without the layers above it.
func brokerOnRedis(ctx context.Context, s *stage, arrived func()) (publish, error) {
	return brokerPair(ctx, s, onRedis, []byte(event), arrived)
}

// brokerOnNATS is the same on NATS, with the event in the form that a node sends.
func brokerOnNATS(ctx context.Context, s *stage, arrived func()) (publish, error) {
	sample, err := s.natsSample(ctx)
	if err != nil {
		return nil, err
	}
	const frame = 16 // bytes that the broker adds
	return brokerPair(ctx, s, onNATS, sample.Data[frame:], arrived)
}

// brokerPair is a broker that publishes to a room's channel, and another that receives every room.
func brokerPair(ctx context.Context, s *stage, open opener, payload []byte, arrived func()) (publish, error) {
	var both [2]broker.Broker
	for i := range both {
		var err error
		if both[i], err = with(ctx, s, open); err != nil {
			return nil, err
		}
	}
	if _, err := both[1].Subscribe(ctx, brokerSink(arrived), broker.SocketIO.EveryRoom("/")); err != nil {
		return nil, err
	}
	channel := broker.SocketIO.Room("/", room)
	return func(ctx context.Context) error { return both[0].Publish(ctx, channel, payload) }, nil
}

type brokerSink func()

func (s brokerSink) Deliver(broker.Channel, []byte) { s() }
func (brokerSink) Interrupted(error)                {}
func (brokerSink) Resumed()                         {}
