package servers

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossroom/crossroom/internal/child"
)

// patience limits the wait for responses and clusters.
const patience = 20 * time.Second

// Server is one child process that listens on one loopback port. Its methods fail the test instead of returning
// errors, so call them on the test's goroutine.
type Server struct {
	tb   testing.TB
	name string
	bin  string
	args []string
	dir  string
	port int
	// ready reports whether the server can be used; see child.Process.Await.
	ready func(ctx context.Context) error

	mu    sync.Mutex
	child *child.Process // nil while stopped
	log   string
}

// Addr returns the server's host and port. They do not change.
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
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(s.bin, s.args...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = out, out
	c, err := child.Start(cmd, nil)
	if err != nil {
		return err
	}
	if err := c.Await(context.Background(), s.ready); err != nil {
		return err
	}
	s.child = c
	return nil
}

// Stop ends the server with SIGTERM and waits for it. It does nothing if the server does not run.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server with SIGKILL, like a crash, and waits for it.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return
	}
	c := s.child
	s.child = nil
	c.Signal(syscall.SIGCONT) // a frozen process handles only SIGKILL
	c.Signal(sig)
	_ = c.Finish() // the error only reports our signal
}

// Freeze stops the server: its connections stay, and it does not respond.
func (s *Server) Freeze() {
	s.tb.Helper()
	s.running().Freeze()
}

// Thaw undoes Freeze.
func (s *Server) Thaw() {
	s.tb.Helper()
	s.running().Signal(syscall.SIGCONT)
}

// Signal sends the server a signal.
func (s *Server) Signal(sig syscall.Signal) {
	s.tb.Helper()
	s.running().Signal(sig)
}

func (s *Server) running() *child.Process {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		s.tb.Fatalf("%s does not run", s.name)
	}
	return s.child
}

// Restart starts the server again on the same port, after Stop or Kill or while it runs, and waits until it is ready.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.start()
}

// Running reports whether the server was started and has not been stopped.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return false
	}
	select {
	case <-s.child.Exited():
		return false
	default:
		return true
	}
}

// Log returns the last lines of the server's standard output and error.
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

// newServer prepares a server in a temporary directory of its own. The test's Cleanup kills it.
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

// await waits for a condition of several servers.
func await(tb testing.TB, what string, ok func(ctx context.Context) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := ok(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("not %s after %v: %v", what, patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
