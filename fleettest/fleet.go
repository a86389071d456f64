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

// Options configure a fleet. Nil means all defaults. Run copies them, with those of Bus.
type Options struct {
	// Uncounted makes the bus unable to count subscribers, like NATS. By default it counts them, like Redis.
	Uncounted bool
	// Bus has the limits of queues and messages. Nil means the defaults of memorybroker.Options. Every value is valid.
	Bus *memorybroker.Options
}

// Fleet is a set of nodes on one bus. Use it on the test's goroutine, and in functions passed to After. There is no limit
// to the number of nodes. Only Settle waits.
type Fleet struct {
	t    *testing.T
	opts Options
	bus  *memorybroker.Bus

	mu     sync.Mutex
	over   bool // the test has returned: the fleet allows no further fault or node
	faults []*Faults
}

// failure is the panic value of Server and Node. Run and After recover it, because a goroutine of After must not call
// FailNow.
type failure struct{ error }

// closing limits the time for closing one node at the end of a test, on the fleet's clock.
const closing = time.Minute

// Run calls test with an empty fleet, in a bubble of package testing/synctest, and waits for it. When test returns, Run
// waits until all goroutines wait, and then heals and thaws all nodes and brokers. Then the test's Cleanup functions run,
// those of the fleet and of the test in reverse order of their registration. Those of the fleet close its nodes and
// brokers. Each Close has one minute of the fleet's clock. If a Close returns an error, such as a *broker.LossError after
// a long Cut, the test fails.
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
	synctest.Wait() // for running functions of After
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

// Settle waits until every goroutine of the bubble waits. The clock does not advance. Then pending messages are delivered,
// and connected nodes know each other. Two goroutines must not call it at the same time: testing/synctest panics then.
func (f *Fleet) Settle() { synctest.Wait() }

// After calls the function do when d has elapsed, on a goroutine of its own, unless the test has returned by then. Use it
// to inject a fault in the middle of an operation. do may wait, but must not call T.FailNow or T.Fatal.
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

// Broker is the broker of one node, with its faults.
type Broker struct {
	broker.Broker
	*Faults
}

// Broker makes a broker for a node that the fleet does not make. The test closes that node (see "Nodes" in the package
// documentation), and the fleet heals and closes the broker. name is for messages of the test.
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

// closeLater registers a Cleanup that closes something with a time limit.
func (f *Fleet) closeLater(what string, close func(context.Context) error) {
	f.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closing)
		defer cancel()
		if err := close(ctx); err != nil {
			f.t.Errorf("closing %s: %v", what, err)
		}
	})
}

// Server is a server of package adapter, with its faults.
type Server struct {
	*adapter.Server
	*Faults
}

// Server makes a server. It copies opts; nil means all defaults. It sets the copy's Name to name, so adapter.NodeName
// of the server's uid returns name. The server joins the fleet when it opens a namespace. Several servers may
// have the same name. If adapter.New rejects the options, the test fails and ends. In a function passed to After, that
// function ends, and the test continues as failed.
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

// Node is a node of package backplane, with its faults.
type Node struct {
	*backplane.Node
	*Faults
}

// Node makes a node with the given id. It copies opts; nil means all defaults. The node joins the fleet when it opens a
// namespace. Nodes that run at the same time need different ids. If backplane.New rejects the options, the test fails as
// with Server.
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
