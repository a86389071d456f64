package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/internal/child"
)

// env is what all measurements share.
type env struct {
	rounds int
	// length of one contender's turn.
	length time.Duration

	redis        *child.Server
	redisVersion string

	// nats is started by the first contender that needs it.
	nats *child.Server
	// sample is natsSample's.
	sample *nats.Msg

	// nodes are started by the contenders that need them, and kept: their compiler
	// needs a while until it is at full speed.
	nodes map[clientPackets]*nodePair
}

func newEnv(ctx context.Context, rounds int, length time.Duration) (*env, error) {
	server, err := child.StartRedis(ctx)
	if err != nil {
		return nil, err
	}
	e := &env{rounds: rounds, length: length, redis: server, nodes: map[clientPackets]*nodePair{}}
	if e.redisVersion, err = e.askRedis(ctx); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// askRedis returns the server's version.
func (e *env) askRedis(ctx context.Context) (string, error) {
	client := e.client()
	defer client.Close()
	info, err := client.InfoMap(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	// Somebody else may have taken the port between our look and the start.
	if got := info["Server"]["process_id"]; got != strconv.Itoa(e.redis.Pid()) {
		return "", fmt.Errorf("process %s answers on %s, not the redis-server just started", got, e.redis.Addr)
	}
	return info["Server"]["redis_version"], nil
}

// client returns a new go-redis client as a user would make it.
func (e *env) client() *redis.Client { return redis.NewClient(&redis.Options{Addr: e.redis.Addr}) }

func (e *env) close() error {
	var errs []error
	for _, pair := range e.nodes {
		errs = append(errs, pair.close())
	}
	if e.nats != nil {
		errs = append(errs, e.nats.Stop())
	}
	return errors.Join(append(errs, e.redis.Stop())...)
}
