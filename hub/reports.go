package hub

import (
	"context"
	"fmt"
	"sync"

	"github.com/crossroom/crossroom/internal/errorlog"
)

// reports passes errors on, one at a time and on a goroutine of its own. What clients and other processes can cause becomes few
// reports by the rule of errorlog.Limiter.
type reports struct {
	sink    errorlog.Sink
	limiter errorlog.Limiter
	lost    func()

	mu      sync.Mutex
	queue   []error
	running bool
	idle    chan struct{} // closed when the queue is empty
}

// maxReports limits the errors that wait for a slow OnError.
const maxReports = 256

// reportError is an error, and the number of further ones of its cause.
type reportError struct {
	cause string
	err   error
	more  int
}

func (e *reportError) Error() string {
	if e.more == 0 {
		return e.err.Error()
	}
	return fmt.Sprintf("%v (and %d more)", e.err, e.more)
}

func (e *reportError) Unwrap() error { return e.err }

func (r *reports) init(sink errorlog.Sink, lost func()) {
	r.sink, r.lost, r.idle = sink, lost, make(chan struct{})
	close(r.idle)
	r.limiter.Cause = func(err error) any { return err.(*reportError).cause }
	r.limiter.Merge = func(waiting, _ error) error {
		sum := *waiting.(*reportError)
		sum.more++
		return &sum
	}
	r.limiter.Pass = func(_ context.Context, err error) { r.put(err.(*reportError)) }
	r.limiter.Lost = lost
}

// report reports an error of a cause, which is no text of other parties.
func (r *reports) report(cause string, err error) {
	r.limiter.Report(context.Background(), &reportError{cause: cause, err: err})
}

func (r *reports) put(e *reportError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= maxReports {
		r.lost()
		return
	}
	var err error = e
	if e.more == 0 {
		err = e.err
	}
	r.queue = append(r.queue, err)
	if !r.running {
		r.running, r.idle = true, make(chan struct{})
		go r.run()
	}
}

func (r *reports) run() {
	for {
		r.mu.Lock()
		if len(r.queue) == 0 {
			r.running = false
			close(r.idle)
			r.mu.Unlock()
			return
		}
		batch := r.queue
		r.queue = nil
		r.mu.Unlock()
		for _, err := range batch {
			r.sink.Handle(context.Background(), err)
		}
	}
}

// close passes on what waits, until ctx ends.
func (r *reports) close(ctx context.Context) error {
	r.limiter.Close()
	r.mu.Lock()
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	default:
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
