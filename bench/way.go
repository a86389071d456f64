package main

import (
	"context"
	"sync/atomic"
)

// way is a route of messages from a publisher to a receiver. It opens both and returns the function that publishes one
// message; arrived is called for each message that the receiver gets.
type way func(ctx context.Context, s *stage, arrived func()) (publish, error)

type publish func(context.Context) error

// flooded publishes as fast as the way takes messages.
func flooded(w way) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		f := newFlow()
		out, err := w(ctx, s, func() { f.arrived(1) })
		return func(ctx context.Context) (int64, figures, error) { return f.flood(ctx, s.length, out) }, err
	}
}

// paced publishes at a steady pace.
func paced(w way) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		var p atomic.Pointer[pace]
		out, err := w(ctx, s, func() { p.Load().arrived() })
		return func(ctx context.Context) (int64, figures, error) {
			p.Store(newPace(s.length))
			return p.Load().run(ctx, s.length, out)
		}, err
	}
}

// nothing is no route: a message has arrived when it is published.
func nothing(_ context.Context, _ *stage, arrived func()) (publish, error) {
	return func(context.Context) error { arrived(); return nil }, nil
}
