// Package monitor has the observable parts of a node: counters, errors that no call returns, and calls of its
// observers.
package monitor

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/observers"
)

// Monitor of one node. All methods are safe for concurrent use.
type Monitor struct {
	Counters
	reporter
	changes changes
	// Observers has the observer of each kind of event, or nil. Observed and Start call them.
	Observers observers.Set
	Source    *observe.Source

	panicError func(what, member string, value any, stack []byte) error
}

// Options of a Monitor.
type Options struct {
	Node      string // its id
	Broker    broker.Broker
	Observers []observe.Observer
	// OnError and Logger get each error, by the rule of package errorlog.
	OnError func(context.Context, error)
	Logger  *slog.Logger
	// Panic makes the error that reports the panic of a callback, and Stack returns its stack.
	Panic func(what, member string, value any, stack []byte) error
	Stack func(err error) []byte
	// Cause and Merge are those of an errorlog.Limiter.
	Cause func(err error) any
	Merge func(queued, err error) error
	// Folded reports whether Logger gets no line for an error, because it is part of an outage.
	Folded func(err error) bool
}

// Init prepares a monitor, which must not be copied afterwards. It returns false if an observer is nil.
func (m *Monitor) Init(o Options) (ok bool) {
	m.Source, m.panicError = SourceOf(o.Node, o.Broker), o.Panic
	m.Observers, ok = observers.Of(o.Observers, func(what string, v any) { m.Panicked(what, "", v) })
	m.reporter.init(o, &m.Counters)
	m.changes.wake.L = &m.changes.mu
	return ok
}

// SourceOf returns the Source of a node on a broker.
func SourceOf(node string, b broker.Broker) *observe.Source {
	caps := b.Capabilities()
	return &observe.Source{Node: node, System: caps.Name, Prefix: caps.Prefix}
}

// Panicked counts and reports the panic of a callback.
func (m *Monitor) Panicked(what, member string, v any) error {
	return m.PanickedIn(context.Background(), what, member, v)
}

// PanickedIn is Panicked for a callback that was called in a context; nil means none.
func (m *Monitor) PanickedIn(ctx context.Context, what, member string, v any) error {
	if ctx == nil {
		ctx = context.Background()
	}
	err := m.panicError(what, member, v, debug.Stack())
	m.Panics.Add(1)
	m.ReportIn(ctx, err)
	return err
}

// Observed calls a method of an observer other than a Start method.
func (m *Monitor) Observed(what string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			m.Panicked(what, "", v)
		}
	}()
	call()
}

// Start calls a Start method of the observer o, given as a method expression, so that the call for every message costs
// no closure.
func Start[O, D any](ctx context.Context, m *Monitor, what string, start func(O, context.Context, *D) context.Context, o O, d *D) (started context.Context) {
	started = ctx
	defer func() {
		if v := recover(); v != nil {
			m.Panicked(what, "", v)
		}
	}()
	if c := start(o, ctx, d); c != nil {
		started = c
	}
	return started
}
