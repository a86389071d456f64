package monitor

import (
	"context"
	"sync"

	"github.com/crossroom/crossroom/internal/errorlog"
)

// reporter passes errors that no call returns to the application, one at a time and on a goroutine of its own, so that
// a slow handler delays nothing. Errors that do not fit into its queue are counted and dropped.
type reporter struct {
	sink  errorlog.Sink
	fold  func(error) bool
	stats *Counters

	limiter errorlog.Limiter

	mu     sync.Mutex
	wake   sync.Cond
	queue  []reported
	closed bool
}

const reportQueue = 256

// reported is an error with the context of the failed operation, for trace-aware loggers.
type reported struct {
	ctx context.Context
	err error
}

func (r *reporter) init(o Options, stats *Counters) {
	r.fold = o.Folded
	r.sink, r.stats = errorlog.New("backplane", o.Logger, o.OnError, o.Stack), stats
	r.limiter.Cause, r.limiter.Merge, r.limiter.Pass = o.Cause, o.Merge, r.put
	r.limiter.Lost = func() { stats.Unreported.Add(1) }
	r.wake.L = &r.mu
}

// Report reports an error that no call returns. Those of one cause become one for each errorlog.Interval.
func (r *reporter) Report(err error) { r.ReportIn(context.Background(), err) }

// ReportIn is Report for an operation in a context.
func (r *reporter) ReportIn(ctx context.Context, err error) { r.limiter.Report(ctx, err) }

// put queues an error.
func (r *reporter) put(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= reportQueue/2 && r.coalesce(err) {
		return
	}
	if r.closed || len(r.queue) >= reportQueue {
		r.stats.Unreported.Add(1)
		return
	}
	r.queue = append(r.queue, reported{ctx, err})
	r.wake.Signal()
}

// coalesce merges an error into a waiting one of the same cause, so that a flood of one kind does not crowd out the
// rest. The caller holds r.mu.
func (r *reporter) coalesce(err error) bool {
	cause := r.limiter.Cause(err)
	if cause == nil {
		return false
	}
	for i := range r.queue {
		if r.limiter.Cause(r.queue[i].err) == cause {
			r.queue[i].err = r.limiter.Merge(r.queue[i].err, err)
			return true
		}
	}
	return false
}

// Run is the reporter's goroutine. It ends after Close, when the queue is empty.
func (r *reporter) Run() {
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
			handle := r.sink.Handle
			if r.fold(e.err) {
				handle = r.sink.Call
			}
			if !handle(e.ctx, e.err) {
				r.stats.Panics.Add(1)
			}
		}
	}
}

// Close ends Run when all waiting errors have been reported.
func (r *reporter) Close() {
	r.limiter.Close()
	r.mu.Lock()
	r.closed = true
	r.wake.Signal()
	r.mu.Unlock()
}
