package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// startRedis starts a redis-server that stores nothing, from PATH or .tools.
func startRedis(ctx context.Context) (url string, stop func(), err error) {
	program, err := exec.LookPath("redis-server")
	for _, path := range []string{".tools/redis-server", "../.tools/redis-server", "../../.tools/redis-server"} {
		if err != nil {
			program, err = exec.LookPath(path)
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w; scripts/setup gets it, or name a server with -redis", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	cmd.Dir = os.TempDir()
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Wait()
	}
	for {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return "redis://" + addr, stop, nil
		}
		select {
		case <-ctx.Done():
			stop()
			return "", nil, fmt.Errorf("redis-server does not answer: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startNode starts the Node.js server of this example and waits until it is ready. stop
// has it export its last spans and waits for its end.
func startNode(ctx context.Context, dir, redis, collector string, clients int) (stop func() error, err error) {
	config, err := json.Marshal(map[string]any{"redis": redis, "collector": collector, "clients": clients})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", "server.js", string(config))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		_ = in.Close()
		return nil, errors.Join(fmt.Errorf("the Node.js server is not ready, but says %q", line), err, cmd.Wait())
	}
	return func() error {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		return cmd.Wait()
	}, nil
}
