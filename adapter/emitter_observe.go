package adapter

import (
	"context"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// What an Emitter has its observer see: broadcasts, and as requests without an answer
// the rest. As everywhere, an observer that panics changes nothing about what it sees;
// an Emitter has nobody to report it to.

func (e *Emitter) observeBroadcast(ctx context.Context, b *wire.Broadcast) (err error) {
	d := &observe.Publish{
		Source: e.source, Namespace: e.namespace, Channel: e.codec.BroadcastChannel(e.namespace, b),
		Rooms: b.Rooms, Except: b.Except, PayloadBytes: len(b.Payload),
	}
	inner := observed(ctx, func() context.Context { return e.observe.Publish.PublishStart(ctx, d) })
	b.Header = d.Header
	d.MessageBytes, d.Err = e.broadcast(inner, b)
	observed(inner, func() context.Context { e.observe.Publish.PublishEnd(inner, d); return nil })
	return d.Err
}

func (e *Emitter) observeRequest(ctx context.Context, r *wire.Request) error {
	d := &observe.Request{
		Source: e.source, Namespace: e.namespace, Op: r.Op.String(), NoReply: true,
		Rooms: r.Rooms, Except: r.Except, PayloadBytes: len(r.Payload),
	}
	inner := observed(ctx, func() context.Context { return e.observe.Request.RequestStart(ctx, d) })
	r.Header = d.Header
	d.Err = e.send(inner, r)
	observed(inner, func() context.Context { e.observe.Request.RequestEnd(inner, d); return nil })
	return d.Err
}

// observed calls a method of the observer and returns its context, or ctx.
func observed(ctx context.Context, call func() context.Context) (out context.Context) {
	out = ctx
	defer func() { _ = recover() }()
	if c := call(); c != nil {
		out = c
	}
	return out
}
