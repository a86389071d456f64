package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// processes are children that end together.
type processes struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	dir     string // for what they need
}

func newProcesses(ctx context.Context) (*processes, error) {
	dir, err := os.MkdirTemp("", "chat-load")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	return &processes{ctx: ctx, cancel: cancel, dir: dir}, nil
}

// end ends all of them and waits for that.
func (p *processes) end() {
	p.cancel()
	p.running.Wait()
	os.RemoveAll(p.dir)
}

// start runs a program whose standard error is ours.
func (p *processes) start(bin string, args ...string) (cmd *exec.Cmd, in io.WriteCloser, out io.Reader, err error) {
	cmd = exec.CommandContext(p.ctx, bin, args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	read, write := io.Pipe()
	cmd.Stdout = write
	if err = cmd.Start(); err != nil {
		return nil, nil, nil, err
	}
	p.running.Go(func() {
		err := cmd.Wait()
		if err == nil {
			err = io.EOF
		}
		write.CloseWithError(fmt.Errorf("%s: %w", filepath.Base(bin), err))
	})
	return cmd, in, read, nil
}

// until tries until something works, for at most ten seconds.
func (p *processes) until(works func() error) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := works()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

func ping(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// freePorts finds loopback ports on which nobody listens now.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // all stay taken until all are found
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}
