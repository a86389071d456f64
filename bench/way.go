package main

import "context"

// way is how messages go from a publisher to a receiver. It makes both and calls run
// with what publishes one message; arrived is called for each that the receiver gets.
type way func(ctx context.Context, e *env, arrived func(), run withPublish) (figures, error)

// withPublish measures something with what publishes one message.
type withPublish func(publish func(context.Context) error) (figures, error)

// throughput is how many messages a second go that way at most.
func throughput(w way) func(context.Context, *env) (figures, error) {
	return func(ctx context.Context, e *env) (figures, error) {
		f := newFlow()
		return w(ctx, e, func() { f.arrived(1) }, func(publish func(context.Context) error) (figures, error) {
			return flood(ctx, e, f, publish)
		})
	}
}

// latency is how long messages take that way at a steady pace.
func latency(w way) func(context.Context, *env) (figures, error) {
	return func(ctx context.Context, e *env) (figures, error) {
		p := newPace(e.length)
		return w(ctx, e, p.arrived, func(publish func(context.Context) error) (figures, error) {
			return p.run(ctx, publish)
		})
	}
}
