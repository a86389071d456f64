// Package observers combines several observers into one.
package observers

import (
	"context"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// Set has an observer for each kind of event, or nil.
type Set struct {
	Publish, Deliver, Request, Serve, Drop, Link, Node, Change observe.Observer
	Unwanted                                                   bool
}

// Of sorts observers by the events that they want. If several want the same event, panicked is called for a method
// that panics; for a single observer the caller must recover. ok is false if an observer is nil.
func Of(list []observe.Observer, panicked func(what string, v any)) (s Set, ok bool) {
	if slices.Contains(list, nil) {
		return s, false
	}
	events := make([]observe.Events, len(list))
	for i, o := range list {
		events[i] = o.Events()
	}
	want := func(e observe.Events) observe.Observer {
		var wanting []observe.Observer
		for i, o := range list {
			if events[i]&e != 0 {
				wanting = append(wanting, o)
			}
		}
		switch len(wanting) {
		case 0:
			return nil
		case 1:
			return wanting[0]
		}
		return &several{list: wanting, panicked: panicked}
	}
	return Set{
		Publish: want(observe.Publishes), Deliver: want(observe.Deliveries), Request: want(observe.Requests),
		Serve: want(observe.Serves), Drop: want(observe.Drops), Link: want(observe.Outages), Node: want(observe.Nodes), Change: want(observe.Changes),
		Unwanted: want(observe.Unwanted) != nil,
	}, true
}

// guard calls f and reports its panic.
func (s *several) guard(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			s.panicked(what, v)
		}
	}()
	f()
}

// several are observers that want the same events.
type several struct {
	observe.Nop
	panicked func(what string, v any)
	list     []observe.Observer
}

// begin calls a Start method of each observer, and returns their states in state.
func (s *several) begin(ctx context.Context, what string, state *any, start func(observe.Observer, context.Context) context.Context) context.Context {
	states := make([]any, len(s.list))
	for i, o := range s.list {
		*state = nil
		s.guard(what, func() {
			if c := start(o, ctx); c != nil {
				ctx = c
			}
		})
		states[i] = *state
	}
	*state = states
	return ctx
}

// each calls another method of each observer, with the state of its Start method.
func (s *several) each(what string, state *any, call func(observe.Observer)) {
	states, _ := (*state).([]any)
	for i, o := range s.list {
		if i < len(states) {
			*state = states[i]
		}
		s.guard(what, func() { call(o) })
		if i < len(states) {
			states[i] = *state
		}
	}
	*state = states
}

func (s *several) NodeStart(n observe.Node) {
	for _, o := range s.list {
		s.guard("NodeStart", func() { o.NodeStart(n) })
	}
}

func (s *several) NodeEnd(n observe.Node) {
	for _, o := range s.list {
		s.guard("NodeEnd", func() { o.NodeEnd(n) })
	}
}

func (s *several) PublishStart(ctx context.Context, d *observe.Publish) context.Context {
	return s.begin(ctx, "PublishStart", &d.State, func(o observe.Observer, ctx context.Context) context.Context { return o.PublishStart(ctx, d) })
}

func (s *several) PublishEnd(ctx context.Context, d *observe.Publish) {
	s.each("PublishEnd", &d.State, func(o observe.Observer) { o.PublishEnd(ctx, d) })
}

func (s *several) DeliverStart(ctx context.Context, d *observe.Delivery) context.Context {
	return s.begin(ctx, "DeliverStart", &d.State, func(o observe.Observer, ctx context.Context) context.Context { return o.DeliverStart(ctx, d) })
}

func (s *several) DeliverEnd(ctx context.Context, d *observe.Delivery) {
	s.each("DeliverEnd", &d.State, func(o observe.Observer) { o.DeliverEnd(ctx, d) })
}

func (s *several) RequestStart(ctx context.Context, d *observe.Request) context.Context {
	return s.begin(ctx, "RequestStart", &d.State, func(o observe.Observer, ctx context.Context) context.Context { return o.RequestStart(ctx, d) })
}

func (s *several) RequestResponse(ctx context.Context, d *observe.Request, node string) {
	s.each("RequestResponse", &d.State, func(o observe.Observer) { o.RequestResponse(ctx, d, node) })
}

func (s *several) RequestEnd(ctx context.Context, d *observe.Request) {
	s.each("RequestEnd", &d.State, func(o observe.Observer) { o.RequestEnd(ctx, d) })
}

func (s *several) ServeStart(ctx context.Context, d *observe.Serve) context.Context {
	return s.begin(ctx, "ServeStart", &d.State, func(o observe.Observer, ctx context.Context) context.Context { return o.ServeStart(ctx, d) })
}

func (s *several) ServeEnd(ctx context.Context, d *observe.Serve) {
	s.each("ServeEnd", &d.State, func(o observe.Observer) { o.ServeEnd(ctx, d) })
}

func (s *several) Dropped(namespace string, ch broker.Channel, reason observe.DropReason) {
	for _, o := range s.list {
		s.guard("Dropped", func() { o.Dropped(namespace, ch, reason) })
	}
}

func (s *several) Interrupted(namespace string, err error) {
	for _, o := range s.list {
		s.guard("Interrupted", func() { o.Interrupted(namespace, err) })
	}
}

func (s *several) Resumed(namespace string, lasted time.Duration) {
	for _, o := range s.list {
		s.guard("Resumed", func() { o.Resumed(namespace, lasted) })
	}
}

func (s *several) Changed(c observe.Change) {
	for _, o := range s.list {
		s.guard("Changed", func() { o.Changed(c) })
	}
}
