package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/internal/child"
)

// env is shared by all measurements.
type env struct {
	rounds int
	// length of one contender's turn.
	length time.Duration

	redis, nats  *child.Server
	redisVersion string
	// The processor time of these processes counts, and that of others that have terminated.
	processes []int
	ended     time.Duration

	sample   *nats.Msg // natsSample's
	captured [2]frame  // those of frames
}

func newEnv(ctx context.Context, rounds int, length time.Duration) (_ *env, err error) {
	e := &env{rounds: rounds, length: length}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if e.redis, err = child.StartRedis(ctx); err != nil {
		return nil, err
	}
	if e.nats, err = child.StartNATS(ctx); err != nil {
		return nil, err
	}
	e.processes = []int{e.redis.Pid(), e.nats.Pid()}
	e.redisVersion, err = e.askRedis(ctx)
	return e, err
}

// askRedis returns the server's version.
func (e *env) askRedis(ctx context.Context) (version string, err error) {
	s := &stage{env: e}
	defer func() { err = errors.Join(err, s.close()) }()
	info, err := goredisClient(s).InfoMap(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	// Another program may have taken the port before the server started.
	if got := info["Server"]["process_id"]; got != strconv.Itoa(e.redis.Pid()) {
		return "", fmt.Errorf("process %s answers on %s, not the redis-server just started", got, e.redis.Addr)
	}
	return info["Server"]["redis_version"], nil
}

func (e *env) close() error {
	var errs []error
	for _, server := range []*child.Server{e.nats, e.redis} {
		if server != nil {
			errs = append(errs, server.Stop())
		}
	}
	return errors.Join(errs...)
}
