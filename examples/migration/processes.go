package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/crossroom/crossroom/internal/child"
)

// patience limits every wait.
const patience = 30 * time.Second

// process is a child that writes lines.
type process struct {
	*child.Process
	name  string
	lines chan string // closed at the end of its output
}

func start(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, lines: make(chan string, 1<<16)}
	cmd.Stderr = os.Stderr
	var err error
	p.Process, err = child.Start(cmd, func(output io.Reader) {
		defer close(p.lines)
		for in := bufio.NewScanner(output); in.Scan(); {
			p.lines <- in.Text()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// line returns the next line of the process.
func (p *process) line() (string, error) {
	select {
	case line, ok := <-p.lines:
		if !ok {
			return "", fmt.Errorf("%s ended: %v", p.name, p.Finish())
		}
		return line, nil
	case <-time.After(patience):
		return "", fmt.Errorf("%s wrote nothing", p.name)
	}
}

// stop ends the process with its input.
func (p *process) stop() error {
	_ = p.Input.Close()
	go func() { // ends with the process
		for range p.lines {
		}
	}()
	if err := p.Finish(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// kill terminates the process with SIGKILL.
func (p *process) kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Exited()
}

// envBridge has the Redis of a Go node. A process with this variable is that node.
const envBridge = "CROSSROOM_MIGRATION_BRIDGE"

func startBridge(name, redis string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envBridge+"="+redis)
	p, err := start(name, cmd)
	if err != nil {
		return nil, err
	}
	if line, err := p.line(); err != nil || line != "ready" {
		return nil, fmt.Errorf("%s is not ready: %q, %w", name, line, err)
	}
	return p, nil
}

// startNode starts a script of the Node.js side and returns its first line.
func startNode(name, dir, script string, args ...string) (p *process, first string, err error) {
	cmd := exec.Command("node", append([]string{script}, args...)...)
	cmd.Dir = dir
	if p, err = start(name, cmd); err != nil {
		return nil, "", err
	}
	first, err = p.line()
	return p, first, err
}
