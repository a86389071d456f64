package outgoing

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Queue holds the messages that wait to be written to one connection. T is the type of a message, such as []byte,
// adapter.Frames or *backplane.Message. All methods are safe for concurrent use. Only Close waits.
type Queue[T any] struct {
	write      func(batch []T) error
	disconnect func(error)
	opts       Options

	mu           sync.Mutex // a leaf: no other lock is taken and no callback runs under it
	waiting      ring[T]
	bytes        int // of the waiting messages
	volatile     int // number of waiting volatile messages
	writing      int // size of the batch that write was called with
	writingBytes int
	running      bool  // the goroutine of run exists
	closed       bool  // Push accepts nothing
	ended        bool  // write is not called again
	err          error // cause of the end
	done         chan struct{}

	written, dropped, droppedVolatile uint64
}

// New returns an empty queue for one connection. The package documentation describes the calls of write and
// disconnect. New panics if either is nil. A context.CancelCauseFunc can serve as disconnect.
func New[T any](write func(batch []T) error, disconnect func(error), opts *Options) *Queue[T] {
	if write == nil || disconnect == nil {
		panic("outgoing: New: write or disconnect is nil")
	}
	return &Queue[T]{write: write, disconnect: disconnect, opts: opts.withDefaults()}
}

// Push appends a message to the queue. It returns true if the message waits to be written. It returns false if the
// message was dropped, because the queue is full, closed or ended, or because the message is volatile and others wait
// already (see "Full queues" in the package documentation). size is the number of bytes for which MaxBytes counts the
// message; a negative one counts as 0. Push never blocks, and calls neither write nor disconnect itself. It allocates only
// when the queue grows or its goroutine starts.
func (q *Queue[T]) Push(v T, size int, volatile bool) bool {
	size = min(max(size, 0), maxSize)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.ended || !q.makeRoom(size, volatile) {
		return false
	}
	q.waiting.push(entry[T]{v, uint32(size), volatile})
	q.bytes += size
	if volatile {
		q.volatile++
	}
	if !q.running {
		q.running = true
		go q.run()
	}
	return true
}

// makeRoom reports whether a message can be queued. It applies the policy if the queue is full.
func (q *Queue[T]) makeRoom(size int, volatile bool) bool {
	if volatile {
		behind := q.waiting.n > 0 && (q.waiting.n >= q.opts.MaxVolatile || q.bytes >= q.opts.MaxBytes/2)
		if behind || q.full(size) {
			q.droppedVolatile++
			return false
		}
		return true
	}
	if q.full(size) && q.volatile > 0 {
		q.dropVolatile()
	}
	if !q.full(size) {
		return true
	}
	switch q.opts.WhenFull {
	case DropOldest:
		for q.full(size) {
			q.pop()
			q.dropped++
		}
		return true
	case DropNewest:
		q.dropped++
	default:
		q.dropped++
		q.end(ErrFull)
	}
	return false
}

func (q *Queue[T]) full(size int) bool {
	n := q.waiting.n
	return n > 0 && (n >= q.opts.MaxMessages || q.bytes+size > q.opts.MaxBytes)
}

func (q *Queue[T]) pop() entry[T] {
	e := q.waiting.pop()
	q.bytes -= int(e.size)
	if e.volatile {
		q.volatile--
	}
	return e
}

func (q *Queue[T]) dropVolatile() {
	for i := range q.waiting.n {
		if e := q.waiting.at(i); e.volatile {
			q.bytes -= int(e.size)
		}
	}
	q.droppedVolatile += uint64(q.volatile)
	q.volatile = 0
	q.waiting.removeVolatile()
}

// Limits of a batch. They are far below those of the queue, so that a client that reads
// slowly makes room step by step, and WriteTimeout applies to each step.
const (
	batchMessages = 64
	batchBytes    = 64 << 10
)

// run calls write until no message waits or the queue has ended.
func (q *Queue[T]) run() {
	var timer *time.Timer
	for batch := q.next(nil, nil); batch != nil; {
		switch {
		case q.opts.WriteTimeout < 0:
		case timer == nil:
			timer = time.AfterFunc(q.opts.WriteTimeout, func() { q.fail(ErrTimeout) })
		default:
			timer.Reset(q.opts.WriteTimeout)
		}
		err := q.call(batch)
		if timer != nil {
			timer.Stop()
		}
		batch = q.next(batch, err)
	}
}

// next accounts for the batch that write was called with, and returns the next batch. After nil the goroutine must
// end: Push may have started another.
func (q *Queue[T]) next(batch []T, err error) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		q.end(err)
	}
	q.written += uint64(q.writing) // writing is 0 after the end
	q.writing, q.writingBytes = 0, 0
	if q.waiting.n == 0 { // also after an early end
		q.running = false
		q.waiting.trim()
		if q.closed {
			q.end(nil)
		}
		q.finish()
		return nil
	}
	clear(batch)
	if batch = batch[:0]; cap(batch) < min(q.waiting.n, batchMessages) {
		batch = make([]T, 0, min(q.waiting.n, batchMessages))
	}
	for q.waiting.n > 0 && len(batch) < batchMessages {
		if size := int(q.waiting.at(0).size); len(batch) > 0 && q.writingBytes+size > batchBytes {
			break
		}
		e := q.pop()
		batch = append(batch, e.value)
		q.writingBytes += int(e.size)
	}
	q.writing = len(batch)
	return batch
}

// call calls write and converts a panic into an error.
func (q *Queue[T]) call(batch []T) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		switch v := recover().(type) {
		case nil: // runtime.Goexit: run does not continue
			q.next(nil, errGoexit)
		case error:
			err = fmt.Errorf("write panicked: %w\n%s", v, debug.Stack())
		default:
			err = fmt.Errorf("write panicked: %v\n%s", v, debug.Stack())
		}
	}()
	err = q.write(batch)
	returned = true
	return err
}

func (q *Queue[T]) fail(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.end(cause)
}

// end ends the queue, once. A nil cause means that no message waits.
func (q *Queue[T]) end(cause error) {
	if q.ended {
		return
	}
	q.ended = true
	if cause != nil {
		err := &Error{q.waiting.n + q.writing, q.bytes + q.writingBytes, cause}
		q.err = err
		go q.disconnect(err)
	}
	q.waiting, q.bytes, q.volatile = ring[T]{}, 0, 0
	q.writing, q.writingBytes = 0, 0
	q.finish()
}

// finish closes done if the queue has ended and write has returned.
func (q *Queue[T]) finish() {
	if q.ended && !q.running && q.done != nil {
		select {
		case <-q.done:
		default:
			close(q.done)
		}
	}
}

// Close makes Push return false, and waits until all messages have been written and the last write has returned. It
// then returns nil. If the queue ends early, or has ended early, Close waits for the write in progress, and returns the
// *Error. If ctx ends first, a queue that has not ended ends early, and Close returns without waiting for the write in
// progress: see Done. With an expired ctx, Close never waits, and returns nil only for an idle queue.
//
// Close may be called again, also concurrently: each call waits and returns the same. The first context to end ends
// the queue for all of them. Do not call Close in write: it would wait for that write until ctx ends. Return an error
// from write instead.
func (q *Queue[T]) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	if !q.running {
		q.end(nil)
	}
	done := q.doneLocked()
	q.mu.Unlock()
	select {
	case <-done:
	default:
		select {
		case <-done:
		case <-ctx.Done():
			q.fail(context.Cause(ctx))
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// Done returns a channel that is closed when the queue has ended and the last write has returned. After Close has
// returned, an HTTP handler must wait for it if write uses the handler's ResponseWriter.
func (q *Queue[T]) Done() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.doneLocked()
}

func (q *Queue[T]) doneLocked() <-chan struct{} {
	if q.done == nil {
		q.done = make(chan struct{})
		q.finish()
	}
	return q.done
}

// Stats returns the counters of the queue.
func (q *Queue[T]) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{
		Messages: q.waiting.n + q.writing, Bytes: q.bytes + q.writingBytes,
		Written: q.written, Dropped: q.dropped, DroppedVolatile: q.droppedVolatile,
	}
}
