package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisServer is a redis-server of our own, with its defaults except that it
// stores nothing.
type redisServer struct {
	addr    string
	version string

	cmd *exec.Cmd
	dir string
}

func startRedis(ctx context.Context) (s *redisServer, err error) {
	program, err := redisBinary()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	dir, err := os.MkdirTemp("", "crossroom-bench-")
	if err != nil {
		return nil, err
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no")
	cmd.Stdout, cmd.Stderr = &log, &log
	// A signal from the terminal is for us; we stop the server ourselves.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s = &redisServer{addr: addr, cmd: cmd, dir: dir}
	if s.version, err = s.await(ctx); err != nil {
		return nil, errors.Join(err, s.close(), errors.New(strings.TrimSpace(log.String())))
	}
	return s, nil
}

// redisBinary looks where the tests look too: the environment, .tools, PATH.
func redisBinary() (string, error) {
	if path := os.Getenv("CROSSROOM_REDIS_SERVER"); path != "" {
		return exec.LookPath(path)
	}
	for _, path := range []string{"./.tools/redis-server", "../.tools/redis-server"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	found, err := exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("%w; scripts/setup gets it, or name it in CROSSROOM_REDIS_SERVER", err)
	}
	return found, nil
}

// await waits until the server answers, and returns its version.
func (s *redisServer) await(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer client.Close()
	for {
		info, err := client.InfoMap(ctx, "server").Result()
		if err == nil {
			// Somebody else may have taken the port between our look and the start.
			if got := info["Server"]["process_id"]; got != strconv.Itoa(s.cmd.Process.Pid) {
				return "", fmt.Errorf("process %s answers on %s, not the redis-server just started", got, s.addr)
			}
			return info["Server"]["redis_version"], nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("redis-server did not answer: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// url is the server's address for clients that take one.
func (s *redisServer) url() string { return "redis://" + s.addr }

func (s *redisServer) close() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Wait() // its exit status says only that we stopped it
	return os.RemoveAll(s.dir)
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
