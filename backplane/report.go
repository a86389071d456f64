package backplane

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/crossroom/crossroom/broker"
)

// reporter hands errors that have no caller to the application, one at a time and
// from a goroutine of its own, so that a slow handler holds up nothing. What does
// not fit into its queue is counted and not handed over.
type reporter struct {
	onError func(context.Context, error)
	logger  *slog.Logger
	stats   *counters

	mu     sync.Mutex
	wake   sync.Cond
	queue  []reported
	closed bool
}

const reportQueue = 256

// reported is an error with the context of what went wrong, for trace-aware loggers.
type reported struct {
	ctx context.Context
	err error
}

func (r *reporter) init(onError func(context.Context, error), logger *slog.Logger, stats *counters) {
	r.onError, r.logger, r.stats = onError, logger, stats
	r.wake.L = &r.mu
}

func (r *reporter) report(err error) { r.reportIn(context.Background(), err) }

// reportIn is report for what went wrong in a context.
func (r *reporter) reportIn(ctx context.Context, err error) {
	if r.onError == nil && r.logger == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= reportQueue/2 && r.coalesce(err) {
		return
	}
	if r.closed || len(r.queue) >= reportQueue {
		r.stats.unreported.Add(1)
		return
	}
	r.queue = append(r.queue, reported{ctx, err})
	r.wake.Signal()
}

// coalesce adds an unreadable message to the report of another one on its channel
// that still waits, and a loss to that of another with the same cause, so that a flood
// of them does not crowd out the rest. r.mu is held.
func (r *reporter) coalesce(err error) bool {
	for i := range r.queue {
		switch q := r.queue[i].err.(type) {
		case *DecodeError:
			if d, ok := err.(*DecodeError); ok && q.Channel == d.Channel {
				q.More++
				return true
			}
		case *broker.LossError:
			l, ok := err.(*broker.LossError)
			if ok && q.Uncertain == l.Uncertain && fmt.Sprint(q.Err) == fmt.Sprint(l.Err) {
				sum := *q
				sum.Messages += l.Messages
				sum.Bytes += l.Bytes
				r.queue[i].err = &sum
				return true
			}
		}
	}
	return false
}

// run is the reporter's goroutine; it ends after close, when the queue is empty.
func (r *reporter) run() {
	for {
		r.mu.Lock()
		for len(r.queue) == 0 && !r.closed {
			r.wake.Wait()
		}
		batch := r.queue
		r.queue = nil
		r.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, e := range batch {
			r.one(e.ctx, e.err)
		}
	}
}

func (r *reporter) one(ctx context.Context, err error) {
	defer func() {
		if v := recover(); v != nil {
			r.stats.panics.Add(1)
		}
	}()
	if r.onError != nil {
		r.onError(ctx, err)
	} else {
		r.logger.LogAttrs(ctx, slog.LevelWarn, "backplane", slog.Any("error", err))
	}
}

// panicked counts and reports the panic of a callback.
func (n *Node) panicked(what, member string, v any) error {
	return n.panickedIn(context.Background(), what, member, v)
}

// panickedIn is panicked for a callback that was called in a context; nil is none.
func (n *Node) panickedIn(ctx context.Context, what, member string, v any) error {
	if ctx == nil {
		ctx = context.Background()
	}
	err := &PanicError{What: what, Member: member, Value: v, Stack: debug.Stack()}
	n.counters.panics.Add(1)
	n.reports.reportIn(ctx, err)
	return err
}

func (r *reporter) close() {
	r.mu.Lock()
	r.closed = true
	r.wake.Signal()
	r.mu.Unlock()
}

// headerDropped counts entries of a header that were left out.
func (n *Node) headerDropped(entries int) {
	if entries > 0 {
		n.counters.headersDropped.Add(uint64(entries))
	}
}
