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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/child"
)

// patience limits the wait for an event that must come.
const patience = 30 * time.Second

// process is a node in a process of its own.
type process struct {
	*child.Process
	t      *testing.T
	id     string
	events chan event
	killed bool
}

// start starts a node's process and waits until it is ready. It ends with the test.
func (c config) start(t *testing.T) *process {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envNode+"="+string(text))
	var said bytes.Buffer
	cmd.Stderr = &said
	p := &process{t: t, id: c.ID, events: make(chan event, 1024)}
	p.Process, err = child.Start(cmd, func(output io.Reader) {
		var e event
		for in := json.NewDecoder(output); in.Decode(&e) == nil; e = (event{}) {
			p.events <- e
		}
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Signal(syscall.SIGCONT)
		p.Input.Close()
		if err := p.Finish(); err != nil && !p.killed || t.Failed() && said.Len() > 0 {
			t.Errorf("process of %s: %v\n%s", p.id, err, &said)
		}
	})
	p.wait("ready")
	return p
}

// wait waits for a line of the process and skips others.
func (p *process) wait(what string) event {
	p.t.Helper()
	end := time.After(patience)
	for {
		select {
		case e := <-p.events:
			if e.What == what {
				return e
			}
		case <-p.Exited():
			p.t.Fatalf("%s ended: %v", p.id, p.Err())
		case <-end:
			p.t.Fatalf("%s does not write %q", p.id, what)
		}
	}
}

// report requests the process's report of received messages.
func (p *process) report() *report {
	p.t.Helper()
	_, err := fmt.Fprintln(p.Input)
	require.NoError(p.t, err)
	return p.wait("report").Report
}

// kill kills the process and waits for it.
func (p *process) kill() {
	p.killed = true
	p.Signal(syscall.SIGKILL)
	<-p.Exited()
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

// fleet is the requesting node, north, in this process, and two nodes in processes of their own.
type fleet struct {
	*node
	south, east *process
	hooks       *hooks
	lost        *losses
}

// hooks calls a function in the middle of a request: the peers have been counted, and the request has not been sent.
type hooks struct {
	observe.Nop
	mu sync.Mutex
	do func()
}

func (h *hooks) once(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.do = do
}

// RequestStart implements observe.Observer.
func (h *hooks) RequestStart(ctx context.Context, _ *observe.Request) context.Context {
	h.mu.Lock()
	do := h.do
	h.do = nil
	h.mu.Unlock()
	if do != nil {
		do()
	}
	return ctx
}

// startFleet starts a fleet whose nodes know each other. Of several servers of a cluster,
// each node knows one: north the first, south the second, east the third.
func startFleet(t *testing.T, s system, urls ...string) *fleet {
	t.Helper()
	f := &fleet{hooks: &hooks{}, lost: &losses{}}
	of := func(i int, id string) config {
		return config{ID: id, System: s.name, URL: urls[i%len(urls)]}
	}
	f.south, f.east = of(1, "south").start(t), of(2, "east").start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	opts := &backplane.Options{Observers: []observe.Observer{f.hooks}, OnError: f.lost.add}
	f.node, err = of(0, "north").join(ctx, opts, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, f.node.close())
	})
	f.meet()
	return f
}

func (f *fleet) processes() []*process { return []*process{f.south, f.east} }

// meet waits until north knows both others and no liveness check of them is open.
func (f *fleet) meet() {
	f.east.t.Helper()
	f.east.eventually("known to north", func() bool {
		known := 0
		for _, p := range f.Node().KnownPeers() {
			if len(p.Namespaces) > 0 && !p.Suspect {
				known++
			}
		}
		return known == 2
	})
}

// losses adds up the losses that north's broker reported.
type losses struct {
	mu                    sync.Mutex
	certain, maybe, other int
}
