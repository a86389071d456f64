package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Server is a server with default options on a free loopback port.
type Server struct {
	*Process
	Addr string // host and port
	URL  string
	dir  string
}

// StartRedis starts a redis-server without persistence, and waits until it responds.
func StartRedis(ctx context.Context) (*Server, error) {
	return startServer(ctx, "redis-server", "redis", "PING\r\n", "+PONG", func(port string) []string {
		return []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"}
	})
}

// StartRedisNode is StartRedis for a node of a cluster. The node is alone.
func StartRedisNode(ctx context.Context) (*Server, error) {
	bus, err := FreePort()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "redis-server", "redis", "PING\r\n", "+PONG", func(port string) []string {
		return []string{
			"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus),
		}
	})
}

// StartNATS starts a nats-server and waits until it responds.
func StartNATS(ctx context.Context) (*Server, error) {
	return startServer(ctx, "nats-server", "nats", "", "INFO ", func(port string) []string {
		return []string{"--addr", "127.0.0.1", "--port", port}
	})
}

func startServer(ctx context.Context, name, scheme, say, want string, args func(port string) []string) (*Server, error) {
	program, err := Program(name)
	if err != nil {
		return nil, fmt.Errorf("no %s: %w", name, err)
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "crossroom-"+name+"-")
	if err != nil {
		return nil, err
	}
	addr := address(port)
	s := &Server{Addr: addr, URL: scheme + "://" + addr, dir: dir}
	cmd := exec.Command(program, args(strconv.Itoa(port))...)
	var log bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &log, &log
	if s.Process, err = Start(cmd, nil); err == nil {
		err = s.Await(ctx, Answers(addr, say, want))
	}
	if err != nil { // and the log is complete
		return nil, errors.Join(fmt.Errorf("%s: %w\n%s", name, err, bytes.TrimSpace(log.Bytes())), os.RemoveAll(dir))
	}
	return s, nil
}

// Stop stops the server and waits for it.
func (s *Server) Stop() error {
	s.Signal(syscall.SIGTERM)
	_ = s.Finish() // the error only reports our signal
	return os.RemoveAll(s.dir)
}
