package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take until it answers.
const startTimeout = 20 * time.Second

// Server is one child process that listens on one loopback port. Its methods fail
// the test instead of returning errors, so call them from the test's goroutine.
type Server struct {
	tb   testing.TB
	name string
	bin  string
	args []string
	dir  string
	port int
	// ready reports whether the server can be used. It is called again until it
	// returns nil.
	ready func(ctx context.Context) error

	mu    sync.Mutex
	child *child // nil while stopped
	log   string
}

// Addr returns the host and port it listens on. They do not change.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Dir returns its working directory.
func (s *Server) Dir() string { return s.dir }

// start runs the process and waits until it is ready.
func (s *Server) start() {
	s.tb.Helper()
	if err := s.tryStart(); err != nil {
		s.tb.Fatalf("%s on port %d: %v\n%s", s.name, s.port, err, s.Log())
	}
}

func (s *Server) tryStart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child != nil {
		return errors.New("runs already")
	}
	c, err := startChild(s.bin, s.args, s.dir, s.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			s.child = c
			return nil
		}
		select {
		case <-c.exited:
			return fmt.Errorf("ended at once: %v", c.err)
		case <-ctx.Done():
			c.signal(syscall.SIGKILL)
			<-c.exited
			return fmt.Errorf("not ready after %v: %w", startTimeout, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the server in good order and waits for it. It does nothing if it does
// not run.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server at once, as a crash would, and waits for it.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return
	}
	c := s.child
	s.child = nil
	c.signal(syscall.SIGCONT) // a paused process hears only SIGKILL
	c.signal(sig)
	select {
	case <-c.exited:
	case <-time.After(10 * time.Second):
		c.signal(syscall.SIGKILL)
		<-c.exited
	}
}

// Pause freezes the server: its connections stay, and nothing answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		s.tb.Fatalf("%s does not run", s.name)
	}
	s.child.signal(sig)
}

// Restart starts the server again on the same port, after Stop or Kill or while it
// runs, and waits until it is ready.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.start()
}

// Running reports whether the server was started and not ended.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return false
	}
	select {
	case <-s.child.exited:
		return false
	default:
		return true
	}
}

// Log returns the end of what the server wrote to its standard output and error.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return string(bytes.TrimSpace(text))
}

// newServer prepares a server in a temporary directory of its own; the test's
// Cleanup kills it.
func newServer(tb testing.TB, name, bin string, port int) *Server {
	tb.Helper()
	dir := tb.TempDir()
	s := &Server{tb: tb, name: name, bin: bin, dir: dir, port: port, log: filepath.Join(dir, "output.log")}
	tb.Cleanup(func() {
		failed := tb.Failed()
		s.Kill()
		if failed {
			tb.Logf("output of %s on port %d:\n%s", s.name, s.port, s.Log())
		}
	})
	return s
}

// child is a running process. One goroutine, on a thread of its own, starts it and
// waits for it.
type child struct {
	proc   *os.Process
	exited chan struct{}
	err    error // after exited is closed
}

func startChild(bin string, args []string, dir, log string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttr()

	c := &child{exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The signal on the parent's death is tied to the thread that forked. Go may
		// end a thread at any time, so this one is kept for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			c.proc = cmd.Process
		}
		started <- err
		if err == nil {
			c.err = cmd.Wait()
		}
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// signal sends a signal; a process that has ended does not mind.
func (c *child) signal(sig syscall.Signal) { _ = c.proc.Signal(sig) }
