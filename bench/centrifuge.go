package main

import (
	"context"

	"github.com/centrifugal/centrifuge"
)

// centrifugeBroker is centrifuge's Redis broker with its defaults and without the rest of centrifuge: a handler of
// this package counts its messages.
func centrifugeBroker(ctx context.Context, s *stage, arrived func()) (publish, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	s.later(func() error { return node.Shutdown(context.WithoutCancel(ctx)) })
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: s.redis.Addr})
	if err != nil {
		return nil, err
	}
	s.later(func() error { shard.Close(); return nil })
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: []*centrifuge.RedisShard{shard}})
	if err != nil {
		return nil, err
	}
	s.later(func() error { return broker.Close(context.WithoutCancel(ctx)) })
	if err := broker.RegisterBrokerEventHandler(centrifugeSink(arrived)); err != nil {
		return nil, err
	}
	if err := broker.Subscribe(room); err != nil {
		return nil, err
	}
	payload := []byte(event)
	return func(context.Context) error {
		_, err := broker.Publish(room, payload, centrifuge.PublishOptions{})
		return err
	}, nil
}

type centrifugeSink func()

func (s centrifugeSink) HandlePublication(string, *centrifuge.Publication, centrifuge.StreamPosition, bool, *centrifuge.Publication) error {
	s()
	return nil
}

func (centrifugeSink) HandleJoin(string, *centrifuge.ClientInfo) error  { return nil }
func (centrifugeSink) HandleLeave(string, *centrifuge.ClientInfo) error { return nil }
