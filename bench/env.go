package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// env is what all measurements share.
type env struct {
	rounds int
	// length of one contender's turn.
	length time.Duration

	redis        *redisServer
	redisVersion string

	// node is started by the first contender that needs it, and kept: its compiler
	// needs a while until it is at full speed.
	node *nodePair
}

func newEnv(ctx context.Context, rounds int, length time.Duration) (*env, error) {
	server, err := startRedis(ctx)
	if err != nil {
		return nil, err
	}
	return &env{rounds: rounds, length: length, redis: server, redisVersion: server.version}, nil
}

// client returns a new go-redis client as a user would make it.
func (e *env) client() *redis.Client { return redis.NewClient(&redis.Options{Addr: e.redis.addr}) }

func (e *env) close() error {
	var nodeErr error
	if e.node != nil {
		nodeErr = e.node.close()
	}
	return errors.Join(nodeErr, e.redis.close())
}
