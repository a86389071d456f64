package adapter

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/internal/errorlog"
	"github.com/crossroom/crossroom/internal/wire"
)

// LinkError names the link of an error, on servers with several links. It wraps the error.
type LinkError struct {
	// Prefix of the link; its dialect if the broker has no prefixes. The broker's name comes first if two links of the
	// server have the same.
	Prefix string
	Err    error
}

func (e *LinkError) Error() string {
	return "adapter: link " + errorlog.Printable(e.Prefix, 300) + ": " +
		errorlog.Printable(strings.TrimPrefix(fmt.Sprint(e.Err), "adapter: "), 2000)
}

func (e *LinkError) Unwrap() error { return e.Err }

// reporter calls Options.OnError, one call at a time, on a goroutine of its own.
type reporter struct {
	sink    errorlog.Sink
	queue   chan reported
	closing chan struct{} // closed when close begins
	done    chan struct{} // closed when run has ended
	lost    atomic.Uint64
	limiter errorlog.Limiter // of errors of this package: those of the core come limited

	once   sync.Once    // closes closing and queue
	mu     sync.RWMutex // prevents sending on a closed queue
	closed bool
}

const reportQueue = 256

// reported is an error with the context of the failed operation.
type reported struct {
	ctx context.Context
	err error
	// folded: the log gets no line, because the error is part of an outage.
	folded bool
}

func (r *reporter) start(sink errorlog.Sink) {
	r.sink = sink
	r.queue = make(chan reported, reportQueue)
	r.closing, r.done = make(chan struct{}), make(chan struct{})
	r.limiter.Cause, r.limiter.Merge, r.limiter.Pass = wire.CauseOf, wire.Merged, r.put
	r.limiter.Lost = func() { r.lost.Add(1) }
	go r.run() // close waits for it
}

func (r *reporter) run() {
	defer close(r.done)
	for e := range r.queue {
		handle := r.sink.Handle
		if e.folded {
			handle = r.sink.Call
		}
		if !handle(e.ctx, e.err) {
			r.lost.Add(1) // a handler that panics has not handled the error
		}
	}
}

// report never blocks. Errors of one cause become one for each errorlog.Interval.
func (r *reporter) report(ctx context.Context, err error) { r.limiter.Report(ctx, err) }

// put never blocks; an error that does not fit is counted.
func (r *reporter) put(ctx context.Context, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		r.lost.Add(1)
		return
	}
	select {
	case r.queue <- reported{ctx: ctx, err: err}:
	default:
		r.lost.Add(1)
	}
}

// pass is report for the core's reporter, whose goroutine does nothing else: it waits while the queue is full, so that
// further errors gather there, where many of a kind become one.
func (r *reporter) pass(ctx context.Context, err error, folded bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		r.lost.Add(1)
		return
	}
	select {
	case r.queue <- reported{ctx, err, folded}:
	case <-r.closing:
		r.lost.Add(1)
	}
}

// close reports the queued errors, until ctx ends.
func (r *reporter) close(ctx context.Context) error {
	r.once.Do(func() {
		r.limiter.Close()
		close(r.closing)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.closed = true
		close(r.queue)
	})
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-r.done:
		return nil
	default:
		return ctx.Err()
	}
}
