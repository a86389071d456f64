package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

func onPrefix(prefix string) opener {
	return func(s *stage) (broker.Broker, error) {
		return redisbroker.Open(s.redis.URL, &redisbroker.Options{Prefix: prefix})
	}
}

// bridgedBy has the publisher on one prefix, the receiver on another, and some Go nodes on both. The first of these
// nodes forwards messages.
func bridgedBy(nodes int) way {
	return func(ctx context.Context, s *stage, arrived func()) (publish, error) {
		here, there := onPrefix("here"), onPrefix("there")
		for range nodes {
			if err := newBridge(ctx, s, here, there); err != nil {
				return nil, err
			}
		}
		publisher, err := newNode(ctx, s, here)
		if err != nil {
			return nil, err
		}
		receiver, err := newNode(ctx, s, there)
		if err != nil {
			return nil, err
		}
		// The bridge keeps messages from before its start.
		began := make(chan struct{})
		if err := join(ctx, receiver.ns, &sink{"probe", func() { close(began) }}, "probes"); err != nil {
			return nil, err
		}
		if err := publisher.ns.To("probes").Emit(ctx, "event", event); err != nil {
			return nil, err
		}
		select {
		case <-began:
		case <-time.After(20 * time.Second):
			return nil, errors.New("the bridge does not begin")
		}
		return publisher.emits, join(ctx, receiver.ns, &sink{"sink", arrived}, room)
	}
}

// newBridge starts a Go node on two prefixes.
func newBridge(ctx context.Context, s *stage, one, other opener) error {
	var both [2]broker.Broker
	for i, open := range []opener{one, other} {
		var err error
		if both[i], err = with(ctx, s, open); err != nil {
			return err
		}
	}
	_, err := nodeOn(ctx, s, both[0], &adapter.Options{
		Links:  []adapter.Link{{Broker: both[1]}},
		Bridge: &adapter.Bridge{},
		// It starts soon, and a busy machine does not make it appear lost.
		Heartbeat: 100 * time.Millisecond, PeerTimeout: 5 * time.Second,
		OnError: func(err error) { fmt.Println("bridge:", err) },
	})
	return err
}
