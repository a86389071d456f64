package fleettest

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// Options of a fleet. Nil means all defaults. Run copies them.
type Options struct {
	// Uncounted: the bus cannot say who listens, as NATS cannot. Otherwise it can, as
	// Redis does.
	Uncounted bool
	// Bus has the limits of queues and messages; nil means its defaults.
	Bus *memorybroker.Options
}

// Fleet is some nodes on one bus. Use it in the test's goroutine, and from functions
// given to After.
type Fleet struct {
	t    *testing.T
	opts Options
	bus  *memorybroker.Bus

	mu     sync.Mutex
	over   bool // the test has returned: no fault and no node comes any more
	faults []*Faults
}

// failure is what Server and Node panic with. Run and After recover it, because a
// goroutine of After must not end the test.
type failure struct{ error }

// closing limits how long a node may take to close at the end of a test, on the
// fleet's clock.
const closing = time.Minute

// Run calls test with an empty fleet, in a bubble of package testing/synctest. When
// test returns, Run thaws and heals all nodes and brokers. The test's Cleanup functions
// follow: they close all nodes that the fleet made, the last one first.
func Run(t *testing.T, opts *Options, test func(t *testing.T, f *Fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &Fleet{t: t}
		if opts != nil {
			f.opts = *opts
		}
		f.bus = memorybroker.NewBus(f.opts.Bus)
		defer f.end()
		test(t, f)
	})
}

// end undoes all faults, and fails the test if Server or Node has failed.
func (f *Fleet) end() {
	failed := recover()
	f.mu.Lock()
	f.over = true
	faults := f.faults
	f.mu.Unlock()
	synctest.Wait() // for functions given to After that have begun
	for _, p := range faults {
		p.Thaw()
		p.Heal()
	}
	if err, ok := failed.(failure); ok {
		f.t.Fatal(err)
	} else if failed != nil {
		panic(failed)
	}
}

// Settle waits until everything that is under way has come to rest, without any time
// passing: messages have been delivered, nodes that were just made know each other.
func (f *Fleet) Settle() { synctest.Wait() }

// After calls do when d has passed, in a goroutine of its own, unless the test has
// returned by then: for what happens to a node in the middle of something.
func (f *Fleet) After(d time.Duration, do func()) {
	time.AfterFunc(d, func() {
		f.mu.Lock()
		over := f.over
		f.mu.Unlock()
		if over {
			return
		}
		defer func() {
			failed := recover()
			if err, ok := failed.(failure); ok {
				f.t.Error(err)
			} else if failed != nil {
				panic(failed)
			}
		}()
		do()
	})
}

// Broker is the broker of one node, and its faults.
type Broker struct {
	broker.Broker
	*Faults
}

// Broker makes a broker for a node that the fleet does not make. It is healed when the
// test returns, and closed after whatever the test has registered with Cleanup since.
func (f *Fleet) Broker(name string) *Broker {
	b := f.bus.Broker()
	p := &Broker{Broker: b, Faults: &Faults{name: name, broker: b}}
	if f.opts.Uncounted {
		p.Broker = uncounted{b}
	}
	f.mu.Lock()
	f.faults = append(f.faults, p.Faults)
	f.mu.Unlock()
	f.closeLater(name+"'s broker", b.Close)
	return p
}

// closeLater has something closed at the end of the test.
func (f *Fleet) closeLater(what string, close func(context.Context) error) {
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closing)
		defer cancel()
		if err := close(ctx); err != nil {
			f.t.Errorf("closing %s: %v", what, err)
		}
	})
}

// Server is a server of package adapter, and what may happen to it.
type Server struct {
	*adapter.Server
	*Faults
}

// Server makes a server. Options.Name is name, so that adapter.NodeName of its uid
// is. It is part of the fleet when it has opened a namespace. Options that
// adapter.New refuses fail the test, and end it or the function given to After.
func (f *Fleet) Server(name string, opts *adapter.Options) *Server {
	f.t.Helper()
	var o adapter.Options
	if opts != nil {
		o = *opts
	}
	o.Name = name
	p := f.Broker(name)
	s, err := adapter.New(p, &o)
	if err != nil {
		panic(failure{err})
	}
	f.closeLater(name, s.Close)
	return &Server{Server: s, Faults: p.Faults}
}

// Node is a node of package backplane, and what may happen to it.
type Node struct {
	*backplane.Node
	*Faults
}

// Node makes a node with that id. It is part of the fleet when it has a namespace.
// Options that backplane.New refuses fail the test as with Server.
func (f *Fleet) Node(id string, opts *backplane.Options) *Node {
	f.t.Helper()
	var o backplane.Options
	if opts != nil {
		o = *opts
	}
	o.ID = id
	p := f.Broker(id)
	n, err := backplane.New(p, &o)
	if err != nil {
		panic(failure{err})
	}
	f.closeLater(id, n.Close)
	return &Node{Node: n, Faults: p.Faults}
}
