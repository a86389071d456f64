package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossroom/crossroom/internal/servers"
)

// Generation names the packages a peer is made of.
type Generation string

// The generations: by the packages' major version, or by the minor one too if it is
// not the last of its major version.
const (
	V5  Generation = "v5"   // socket.io-redis 5.4.0 with socket.io 2.5
	V60 Generation = "v6.0" // socket.io-redis 6.0.1 with socket.io 3.1
	V6  Generation = "v6"   // socket.io-redis 6.1.1 with socket.io 4.0
	V70 Generation = "v7.0" // @socket.io/redis-adapter 7.0.1 with socket.io 4.1
	V71 Generation = "v7.1" // @socket.io/redis-adapter 7.1.0 with socket.io 4.4
	V7  Generation = "v7"   // @socket.io/redis-adapter 7.2.0 with socket.io 4.8
	V8  Generation = "v8"   // @socket.io/redis-adapter 8.3.0 with socket.io 4.8
	// The sharded adapter of @socket.io/redis-adapter 8.3.0 with socket.io 4.8, by its subscription mode.
	Sharded        Generation = "sharded"
	ShardedStatic  Generation = "sharded-static"
	ShardedPrivate Generation = "sharded-private"

	EmitterV3 Generation = "emitter-v3" // socket.io-emitter 3.2.0
	EmitterV5 Generation = "emitter-v5" // @socket.io/redis-emitter 5.1.0
	Clients   Generation = "clients"    // socket.io-client 4.8, without a server
)

// Config describes a peer.
type Config struct {
	Generation Generation
	// Name is the peer's name in responses.
	Name string
	// Redis is the URL of the server.
	Redis string
	// Prefix is the key option; empty means the package's, which is socket.io.
	Prefix string
	// RequestsTimeout is the option of that name; zero means the package's 5 s.
	RequestsTimeout time.Duration
	// OwnResponseChannel is the option publishOnSpecificResponseChannel of V7 and V8.
	OwnResponseChannel bool
	// Program replaces the program of node: a server of another kind with the same
	// operations, among those of the generation.
	Program string
}

// Peer is a running process, of Node.js unless Config.Program says otherwise. Its methods are safe for concurrent use.
type Peer struct {
	config Config
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ready  chan struct{} // closed by the report of that kind
	exited chan struct{} // closed when the process has exited and its output is read

	mu       sync.Mutex
	lastID   int
	waiting  map[int]chan report
	inboxes  map[string]*Inbox
	faults   []string
	stopping bool
	stderr   strings.Builder
}

// report is a line that the process writes; see node/peer.js.
type report struct {
	Kind   string
	ID     int
	Value  json.RawMessage
	Error  string
	Inbox  string
	Event  string
	Args   json.RawMessage
	Reason string
	What   string
}

// CallError is a failed operation of a peer.
type CallError struct {
	Op, Message string
	// Value is the partial result of the failed operation, such as the responses up
	// to the timeout.
	Value any
}

func (e *CallError) Error() string { return e.Op + ": " + e.Message }

// Available returns the directory of the Node.js program, or why peers cannot run
// here.
func Available() (dir string, err error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", errors.New("no Node.js in PATH; run scripts/setup")
	}
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		dir := filepath.Join(at, "internal", "interop", "node")
		if _, err := os.Stat(filepath.Join(dir, "package.json")); err == nil {
			if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
				return "", errors.New("the npm packages are not installed; run scripts/setup")
			}
			return dir, nil
		}
		if at == filepath.Dir(at) {
			return "", errors.New("the directory internal/interop/node is not above or below here")
		}
		at = filepath.Dir(at)
	}
}

// Require is Available for a test: without Node.js it is skipped, or failed where
// everything must be run.
func Require(tb testing.TB) (dir string) {
	tb.Helper()
	dir, err := Available()
	if err != nil {
		servers.Missing(tb, "Node.js peer", err)
	}
	return dir
}

// Start starts a peer that runs until Stop or the end of the test. A fault of
// the process fails the test.
func Start(tb testing.TB, c Config) *Peer {
	tb.Helper()
	p := StartDoomed(tb, c)
	tb.Cleanup(func() {
		p.Stop()
		for _, fault := range p.Faults() {
			tb.Errorf("%s: %s", p.Name(), fault)
		}
	})
	return p
}

// StartDoomed is Start for a process that may crash.
func StartDoomed(tb testing.TB, c Config) *Peer {
	tb.Helper()
	dir := Require(tb)
	options, err := json.Marshal(map[string]any{
		"generation": c.Generation, "name": c.Name, "redis": c.Redis, "prefix": c.Prefix,
		"requestsTimeout": c.RequestsTimeout.Milliseconds(), "ownResponseChannel": c.OwnResponseChannel,
	})
	if err != nil {
		tb.Fatal(err)
	}
	p := &Peer{
		config:  c,
		cmd:     exec.Command("node", "peer.js", string(options)),
		ready:   make(chan struct{}),
		exited:  make(chan struct{}),
		waiting: map[int]chan report{},
		inboxes: map[string]*Inbox{},
	}
	p.cmd.Dir = dir
	if c.Program != "" {
		p.cmd = exec.Command(c.Program, string(options))
	}
	p.cmd.Stderr = (*stderrOf)(p)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go p.read(stdout) // ends with the process, which Stop waits for
	tb.Cleanup(p.Stop)
	select {
	case <-p.ready:
	case <-p.exited:
		tb.Fatalf("%s did not start: %v", p.Name(), p.Faults())
	case <-time.After(time.Minute):
		tb.Fatalf("%s did not start within a minute", p.Name())
	}
	return p
}

// Name returns the name of the peer.
func (p *Peer) Name() string { return p.config.Name }

// Generation returns the peer's packages.
func (p *Peer) Generation() Generation { return p.config.Generation }

// Freeze stops the process as a debugger would: it keeps its connections and does
// nothing.
func (p *Peer) Freeze(tb testing.TB) { p.signal(tb, syscall.SIGSTOP) }

// Thaw ends Freeze.
func (p *Peer) Thaw(tb testing.TB) { p.signal(tb, syscall.SIGCONT) }

func (p *Peer) signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		tb.Fatalf("%s: %v", p.Name(), err)
	}
}

// Call performs an operation of node/generations and returns its result. The error
// is a *CallError if the operation failed.
func (p *Peer) Call(ctx context.Context, op string, args map[string]any) (any, error) {
	p.mu.Lock()
	p.lastID++
	id := p.lastID
	answer := make(chan report, 1)
	p.waiting[id] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, id)
		p.mu.Unlock()
	}()

	if args == nil {
		args = map[string]any{}
	}
	line := Text(map[string]any{"id": id, "op": op, "args": args}) + "\n"
	if _, err := io.WriteString(p.stdin, line); err != nil {
		return nil, fmt.Errorf("%s: %s: %w: %v", p.Name(), op, err, p.Faults())
	}
	select {
	case r := <-answer:
		value, err := Parse(r.Value)
		if err == nil && r.Error != "" {
			err = &CallError{Op: op, Message: r.Error, Value: value}
		}
		return value, err
	case <-p.exited:
		return nil, fmt.Errorf("%s: %s: the process is gone: %v", p.Name(), op, p.Faults())
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %s: %w", p.Name(), op, ctx.Err())
	}
}

// Inbox returns the inbox of the messages reported under a name.
func (p *Peer) Inbox(name string) *Inbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.inboxes[name]
	if in == nil {
		in = NewInbox()
		p.inboxes[name] = in
	}
	return in
}

// Faults returns the faults of the process so far.
func (p *Peer) Faults() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.faults)
}

// Stop terminates the process and waits for it. It is idempotent.
func (p *Peer) Stop() {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	_ = p.stdin.Close() // the process exits at the end of its input
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.fault("did not end with its input and was killed")
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

func (p *Peer) fault(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, what)
}

func (p *Peer) read(stdout io.Reader) {
	defer close(p.exited)
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		if err := p.take(line); err != nil {
			p.fault(fmt.Sprintf("unreadable report: %v: %.200q", err, line))
		}
	}
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopping {
		p.faults = append(p.faults, fmt.Sprintf("the process ended by itself: %v\n%s", err, p.stderr.String()))
	}
}

func (p *Peer) take(line []byte) error {
	var r report
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	switch r.Kind {
	case "ready":
		close(p.ready)
	case "result":
		p.mu.Lock()
		answer := p.waiting[r.ID]
		p.mu.Unlock()
		if answer != nil {
			answer <- r
		}
	case "event":
		v, err := Parse(r.Args)
		if err != nil {
			return err
		}
		args, _ := v.([]any)
		p.Inbox(r.Inbox).Put(Message{Event: r.Event, Args: args})
	case "disconnect":
		p.Inbox(r.Inbox).Put(Message{Disconnected: r.Reason})
	case "fault":
		p.fault(r.What + ": " + r.Error)
	default:
		return errors.New("unknown kind")
	}
	return nil
}

// stderrOf keeps the beginning of a process's standard error.
type stderrOf Peer

func (s *stderrOf) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := 16<<10 - s.stderr.Len(); room > 0 {
		s.stderr.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}
