//go:build linux

package outage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// process is a node in a process of its own.
type process struct {
	t      *testing.T
	id     string
	pid    int
	input  io.WriteCloser
	events chan event
	exited chan struct{} // closed when it has ended, and err says how
	err    error
	killed bool
}

// start starts a node's process and waits until it is live. It ends with the test.
func (c config) start(t *testing.T) *process {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envNode+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stderr = &said
	p := &process{t: t, id: c.ID, events: make(chan event, 1024), exited: make(chan struct{})}
	if p.input, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() {
		// The signal on the parent's death is tied to the thread that forked, which is
		// kept for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		var e event
		for in := json.NewDecoder(out); in.Decode(&e) == nil; e = (event{}) {
			p.events <- e
		}
		p.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.signal(syscall.SIGCONT)
		p.input.Close()
		select {
		case <-p.exited:
		case <-time.After(patience):
			p.signal(syscall.SIGKILL)
			<-p.exited
		}
		if p.err != nil && !p.killed || t.Failed() && said.Len() > 0 {
			t.Errorf("process of %s: %v\n%s", p.id, p.err, &said)
		}
	})
	p.wait("ready")
	return p
}

// wait waits until the process says something, passing by what else it says.
func (p *process) wait(what string) event {
	p.t.Helper()
	end := time.After(patience)
	for {
		select {
		case e := <-p.events:
			if e.What == what {
				return e
			}
		case <-p.exited:
			p.t.Fatalf("%s ended: %v", p.id, p.err)
		case <-end:
			p.t.Fatalf("%s does not say %q", p.id, what)
		}
	}
}

// report asks the process what it has received.
func (p *process) report() *report {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.input); err != nil {
		p.t.Fatal(err)
	}
	return p.wait("report").Report
}

func (p *process) signal(sig syscall.Signal) { _ = syscall.Kill(p.pid, sig) }

// stop stops the process, and returns when all of it stands still.
func (p *process) stop() {
	p.signal(syscall.SIGSTOP)
	p.eventually("stopped", func() bool {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
		for _, file := range stats {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // a thread that has ended
			}
			// After the name, which is in parentheses and may hold anything.
			if rest := text[bytes.LastIndexByte(text, ')')+1:]; len(rest) < 2 || rest[1] != 'T' {
				return false
			}
		}
		return len(stats) > 0
	})
}

// kill kills the process and waits for its end.
func (p *process) kill() {
	p.killed = true
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// eventually polls a condition.
func (p *process) eventually(what string, ok func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			p.t.Errorf("%s: not %s in time", p.id, what)
			return
		}
	}
}

// fleet is the asker, north, in this process, and two nodes in theirs.
type fleet struct {
	*node
	south, east *process
	hooks       *hooks
	lost        *losses
}

// hooks has something done when a question is on its way: those who are asked have
// been counted, and the request is not out yet.
type hooks struct {
	mu sync.Mutex
	do func()
}

func (h *hooks) once(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.do = do
}

// RequestStart implements backplane.RequestObserver.
func (h *hooks) RequestStart(ctx context.Context, _ *backplane.RequestData) context.Context {
	h.mu.Lock()
	do := h.do
	h.do = nil
	h.mu.Unlock()
	if do != nil {
		do()
	}
	return ctx
}

func (*hooks) RequestAnswer(context.Context, *backplane.RequestData, string) {}
func (*hooks) RequestEnd(context.Context, *backplane.RequestData)            {}

// startFleet starts a fleet whose nodes know each other.
func startFleet(t *testing.T, s system, url string) *fleet {
	t.Helper()
	f := &fleet{hooks: &hooks{}, lost: &losses{}}
	of := func(id string) config { return config{ID: id, System: s.name, URL: url} }
	f.south, f.east = of("south").start(t), of("east").start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	opts := &backplane.Options{Observer: f.hooks, OnError: f.lost.add}
	if f.node, err = of("north").join(ctx, opts, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.node.close(); err != nil {
			t.Error(err)
		}
	})
	f.meet()
	return f
}

// meet waits until north knows both others and trusts them.
func (f *fleet) meet() {
	f.east.t.Helper()
	f.east.eventually("known to north", func() bool {
		known := 0
		for _, p := range f.Node().Peers() {
			if len(p.Namespaces) > 0 && !p.Suspect {
				known++
			}
		}
		return known == 2
	})
}

// losses adds up what north's broker reported as lost.
type losses struct {
	mu                    sync.Mutex
	certain, maybe, other int
}
