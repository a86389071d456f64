package main

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
)

// env is what all measurements share.
type env struct {
	rounds int
	// length of one contender's turn.
	length time.Duration

	redis        *redisServer
	redisVersion string

	// nats is started by the first contender that needs it.
	nats *natsServer
	// sample is natsSample's.
	sample *nats.Msg

	// nodes are started by the contenders that need them, and kept: their compiler
	// needs a while until it is at full speed.
	nodes map[clientPackets]*nodePair

	seam *seamPrograms // built when first needed
}

func newEnv(ctx context.Context, rounds int, length time.Duration) (*env, error) {
	server, err := startRedis(ctx)
	if err != nil {
		return nil, err
	}
	return &env{
		rounds: rounds, length: length, redis: server, redisVersion: server.version,
		nodes: map[clientPackets]*nodePair{},
	}, nil
}

// client returns a new go-redis client as a user would make it.
func (e *env) client() *redis.Client { return redis.NewClient(&redis.Options{Addr: e.redis.addr}) }

func (e *env) close() error {
	var errs []error
	for _, pair := range e.nodes {
		errs = append(errs, pair.close())
	}
	if e.nats != nil {
		errs = append(errs, e.nats.close())
	}
	errs = append(errs, e.seam.close())
	return errors.Join(append(errs, e.redis.close())...)
}
