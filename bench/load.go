package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	publishers = 64
	eventSize  = 128 // bytes
	room       = "room"
	// inFlight limits the messages between the publishers and the receiver in a closed loop. It is far more than any
	// contender needs for full speed, and far less than the limit at which Redis disconnects a slow subscriber.
	inFlight = 16 << 10
	// rate is the messages per second at which latency is measured.
	rate = 2000
)

// event is the 128 bytes of every message.
var event = strings.Repeat("0123456789abcdef", eventSize/16)

// flow counts messages in flight. Publishers call enter before each message, and the receiver calls arrived after it.
type flow struct {
	sent, got atomic.Int64
	stopped   atomic.Bool

	mu   sync.Mutex
	room sync.Cond // in the window
}

func newFlow() *flow {
	f := &flow{}
	f.room.L = &f.mu
	return f
}

// enter counts n more messages as sent once the window has room for them. It returns false when the time has elapsed.
func (f *flow) enter(n int64) bool {
	if f.stopped.Load() {
		return false
	}
	if f.sent.Add(n)-f.got.Load() <= inFlight {
		return true
	}
	f.mu.Lock()
	for f.sent.Load()-f.got.Load() > inFlight && !f.stopped.Load() {
		f.room.Wait()
	}
	f.mu.Unlock()
	return true // it is counted, so it must be sent
}

// arrived counts n more messages as received.
func (f *flow) arrived(n int64) {
	// A waiting publisher has more than a whole window ahead, so a mark will be passed.
	const mark = inFlight / 8
	if now := f.got.Add(n); now/mark != (now-n)/mark {
		f.mu.Lock()
		f.room.Broadcast()
		f.mu.Unlock()
	}
}

func (f *flow) stop() {
	f.stopped.Store(true)
	f.mu.Lock()
	f.room.Broadcast()
	f.mu.Unlock()
}

// drained waits until everything sent has arrived, and not one message more.
func (f *flow) drained(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for f.got.Load() != f.sent.Load() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d messages sent, %d arrived: %w", f.sent.Load(), f.got.Load(), ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// flood publishes from many goroutines for a while and returns how many messages arrived. It returns when the last one
// has arrived.
func (f *flow) flood(ctx context.Context, length time.Duration, out publish) (int64, figures, error) {
	before := f.got.Load()
	f.stopped.Store(false)
	timer := time.AfterFunc(length, f.stop)
	defer timer.Stop()
	errs := make(chan error, publishers)
	for range publishers {
		go func() {
			for f.enter(1) {
				if err := out(ctx); err != nil {
					f.stop()
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var failed []error
	for range publishers {
		failed = append(failed, <-errs)
	}
	if err := errors.Join(failed...); err != nil {
		return 0, nil, err
	}
	if err := f.drained(ctx); err != nil {
		return 0, nil, err
	}
	return f.got.Load() - before, nil, nil
}

// write does the same from one goroutine that writes n messages at a time.
func (f *flow) write(ctx context.Context, length time.Duration, n int64, out func() error) (int64, figures, error) {
	before := f.got.Load()
	f.stopped.Store(false)
	timer := time.AfterFunc(length, f.stop)
	defer timer.Stop()
	for ctx.Err() == nil && f.enter(n) {
		if err := out(); err != nil {
			return 0, nil, err
		}
	}
	if err := f.drained(ctx); err != nil {
		return 0, nil, err
	}
	return f.got.Load() - before, nil, nil
}

// pace is a steady stream of numbered messages and their times.
type pace struct {
	sent     []atomic.Int64 // ns since start
	took     []time.Duration
	start    time.Time
	arrivals atomic.Int64
}

func newPace(length time.Duration) *pace {
	n := max(1, int(length.Seconds()*rate))
	return &pace{sent: make([]atomic.Int64, n), took: make([]time.Duration, n), start: time.Now()}
}

// arrived records the time of the next message; messages arrive in order.
func (p *pace) arrived() {
	now := time.Since(p.start)
	if i := int(p.arrivals.Load()); i < len(p.sent) {
		p.took[i] = now - time.Duration(p.sent[i].Load())
	}
	p.arrivals.Add(1) // run reports one message too many
}

// run publishes at the rate, or slower on a busy machine. It returns the times from just before out to arrived.
func (p *pace) run(ctx context.Context, length time.Duration, out publish) (int64, figures, error) {
	next, n := time.Now(), 0
	for end := next.Add(length); n < len(p.sent) && (n == 0 || next.Before(end)); n++ {
		time.Sleep(time.Until(next))
		// A goroutine that wakes up late does not catch up with a burst, because that would measure queues.
		next = later(next, time.Now()).Add(time.Second / rate)
		p.sent[n].Store(int64(time.Since(p.start)))
		if err := out(ctx); err != nil {
			return 0, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for p.arrivals.Load() < int64(n) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if got := p.arrivals.Load(); got != int64(n) {
		return 0, nil, fmt.Errorf("%d messages sent, %d arrived", n, got)
	}
	return int64(n), percentiles(p.took[:n]), nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
