package adapter

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
)

// LinkError says which link an error comes from, on servers that have several. It
// wraps the error.
type LinkError struct {
	// Prefix of the link; its dialect if the broker has no prefixes.
	Prefix string
	Err    error
}

func (e *LinkError) Error() string { return "adapter: link " + e.Prefix + ": " + e.Err.Error() }

func (e *LinkError) Unwrap() error { return e.Err }

// reporter calls Options.OnError, one call at a time, from a goroutine of its own.
type reporter struct {
	onError func(error)
	logger  *slog.Logger
	queue   chan reported
	done    chan struct{} // closed when run has ended
	lost    atomic.Uint64

	mu     sync.RWMutex // against sending on a closed queue
	closed bool
}

const reportQueue = 256

// reported is an error with the context of what went wrong.
type reported struct {
	ctx context.Context
	err error
}

func (r *reporter) start(onError func(error), logger *slog.Logger) {
	r.onError, r.logger = onError, logger
	r.queue = make(chan reported, reportQueue)
	r.done = make(chan struct{})
	go r.run() // close waits for it
}

func (r *reporter) run() {
	defer close(r.done)
	for e := range r.queue {
		r.one(e.ctx, e.err)
	}
}

func (r *reporter) one(ctx context.Context, err error) {
	// A handler that panics has not handled the error, and has nobody left to tell.
	defer func() {
		if recover() != nil {
			r.lost.Add(1)
		}
	}()
	if r.logger != nil {
		r.logger.LogAttrs(ctx, slog.LevelWarn, "adapter", slog.Any("error", err))
	}
	if r.onError != nil {
		r.onError(err)
	}
}

// report never blocks; what does not fit is counted.
func (r *reporter) report(ctx context.Context, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		r.lost.Add(1)
		return
	}
	select {
	case r.queue <- reported{ctx, err}:
	default:
		r.lost.Add(1)
	}
}

// close reports what is queued, until ctx ends.
func (r *reporter) close(ctx context.Context) {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}
