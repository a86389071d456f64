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

// bridgeTable holds what crosses a bridge against what does not. With a bridge each message
// is published and received twice, by nodes that share the processors with the others.
var bridgeTable = []measurement{
	{
		name: "bridge throughput",
		what: "128-byte events to one room from 64 goroutines, received by a node on the same prefix (direct), or on another one over a bridge of one or two Go nodes",
		contenders: []contender{
			{"direct", throughput(crossroomOn(openRedis))},
			{"bridged", throughput(bridgedBy(1))},
			{"bridged, and followed", throughput(bridgedBy(2))},
		},
		bars: []bar{
			atLeast(0.2, "throughput over a bridge, of direct", ratio("msg/s", "bridged", "direct")),
			atLeast(0.1, "throughput over a bridge with a follower, of direct", ratio("msg/s", "bridged, and followed", "direct")),
		},
	},
	{
		name: "bridge latency",
		what: "128-byte events at 2,000 a second, from just before publishing to the receiver's call",
		contenders: []contender{
			{"direct", latency(crossroomOn(openRedis))},
			{"bridged", latency(bridgedBy(1))},
			{"bridged, and followed", latency(bridgedBy(2))},
		},
		bars: []bar{
			atMost(2.5, "median latency over a bridge, times direct", ratio("p50 µs", "bridged", "direct")),
			atMost(3, "median latency over a bridge with a follower, times direct", ratio("p50 µs", "bridged, and followed", "direct")),
		},
	},
}

// bridgedBy has the publisher on one prefix, the receiver on another, and some Go nodes on
// both, the first of which passes messages on.
func bridgedBy(nodes int) way {
	return func(ctx context.Context, e *env, arrived func(), run withPublish) (f figures, err error) {
		on := func(prefix string) opener {
			return func(_ context.Context, e *env) (broker.Broker, error) {
				return redisbroker.Open(e.redis.URL, &redisbroker.Options{Prefix: prefix})
			}
		}
		for range nodes {
			n, err := newBridge(ctx, e, on("here"), on("there"))
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, n.close(ctx)) }()
		}
		var ends [2]*crossroomNode
		for i, prefix := range []string{"here", "there"} {
			n, err := newCrossroom(ctx, e, on(prefix))
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, n.close(ctx)) }()
			ends[i] = n
		}
		// The bridge keeps what is sent before it begins.
		began := make(chan struct{})
		probe := &sink{"probe", func() { close(began) }}
		if err := join(ctx, ends[1].ns, probe, "probes"); err != nil {
			return nil, err
		}
		if err := ends[0].ns.To("probes").Emit(ctx, "event", event); err != nil {
			return nil, err
		}
		select {
		case <-began:
		case <-time.After(20 * time.Second):
			return nil, errors.New("the bridge does not begin")
		}
		if err := join(ctx, ends[1].ns, &sink{"sink", arrived}, room); err != nil {
			return nil, err
		}
		return run(func(ctx context.Context) error { return ends[0].ns.To(room).Emit(ctx, "event", event) })
	}
}

// bridgeNode is a Go node on two prefixes.
type bridgeNode struct {
	server  *adapter.Server
	brokers []broker.Broker
}

func newBridge(ctx context.Context, e *env, one, other opener) (*bridgeNode, error) {
	n := &bridgeNode{}
	for _, open := range []opener{one, other} {
		b, err := open(ctx, e)
		if err != nil {
			return nil, errors.Join(err, n.close(ctx))
		}
		n.brokers = append(n.brokers, b)
	}
	var err error
	n.server, err = adapter.New(n.brokers[0], &adapter.Options{
		Also:   []adapter.Link{{Broker: n.brokers[1]}},
		Bridge: &adapter.Bridge{},
		// It begins soon, and a busy machine is no reason to take it for dead.
		Heartbeat: 100 * time.Millisecond, PeerTimeout: 5 * time.Second,
		OnError: func(err error) { fmt.Println("bridge:", err) },
	})
	if err == nil {
		_, err = n.server.Of(ctx, "/")
	}
	if err != nil {
		return nil, errors.Join(err, n.close(ctx))
	}
	return n, nil
}

func (n *bridgeNode) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	if n.server != nil {
		err = n.server.Close(ctx)
	}
	for _, b := range n.brokers {
		err = errors.Join(err, b.Close(ctx))
	}
	return err
}
