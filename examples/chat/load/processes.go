package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/crossroom/crossroom/internal/child"
)

// processes are children that end together.
type processes struct {
	ctx     context.Context
	cancel  context.CancelFunc
	running []*child.Process
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
	for _, c := range p.running {
		c.Signal(syscall.SIGINT)
	}
	for _, c := range p.running {
		c.Finish()
	}
	os.RemoveAll(p.dir)
}

// start runs a program whose standard error is ours; listen is child.Start's.
func (p *processes) start(listen func(output io.Reader), bin string, args ...string) (*child.Process, error) {
	cmd := exec.Command(bin, args...)
	cmd.Stderr = os.Stderr
	c, err := child.Start(cmd, listen)
	if err == nil {
		p.running = append(p.running, c)
	}
	return c, err
}
