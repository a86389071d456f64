package main

import (
	"context"

	"github.com/centrifugal/centrifuge"
)

// centrifugeThroughput is centrifuge's Redis broker with its defaults and without
// the rest of centrifuge: a handler of our own counts what it brings.
func centrifugeThroughput(ctx context.Context, e *env) (figures, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	defer node.Shutdown(context.WithoutCancel(ctx))
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: e.redis.addr})
	if err != nil {
		return nil, err
	}
	defer shard.Close()
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return nil, err
	}
	defer broker.Close(context.WithoutCancel(ctx))
	f := newFlow()
	if err := broker.RegisterBrokerEventHandler(centrifugeSink{f}); err != nil {
		return nil, err
	}
	if err := broker.Subscribe(room); err != nil {
		return nil, err
	}
	payload := []byte(event)
	return flood(ctx, e, f, func(context.Context) error {
		_, err := broker.Publish(room, payload, centrifuge.PublishOptions{})
		return err
	})
}

type centrifugeSink struct{ *flow }

func (s centrifugeSink) HandlePublication(string, *centrifuge.Publication, centrifuge.StreamPosition, bool, *centrifuge.Publication) error {
	s.arrived(1)
	return nil
}

func (centrifugeSink) HandleJoin(string, *centrifuge.ClientInfo) error  { return nil }
func (centrifugeSink) HandleLeave(string, *centrifuge.ClientInfo) error { return nil }
