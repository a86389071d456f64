package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	publishers = 64
	eventSize  = 128 // bytes
	room       = "room"
	// inFlight is how many messages may be between the publishers and the receiver
	// in a closed loop. It is far more than any contender needs to be at full speed
	// and far less than makes Redis give up on a slow subscriber.
	inFlight = 16 << 10
	// rate of messages a second at which latency is measured.
	rate = 2000
)

// event is the 128 bytes that everybody sends.
var event = strings.Repeat("0123456789abcdef", eventSize/16)

// flow counts messages on their way. Publishers call enter before each message
// and the receiver calls arrived after.
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

// enter counts n more messages as sent once there is room for them in the window.
// It reports false when the time is up.
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
	return true // it is counted, so it must go out
}

// arrived counts n more messages as received.
func (f *flow) arrived(n int64) {
	// Whoever waits has more than a whole window ahead, so a mark will be passed.
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

// flood publishes from many goroutines for a while and returns how many messages
// a second arrived. Its time ends when the last one has arrived.
func flood(ctx context.Context, e *env, f *flow, publish func(ctx context.Context) error) (figures, error) {
	runtime.GC() // what the contender before left behind is not this one's
	clock := e.startClock()
	timer := time.AfterFunc(e.length, f.stop)
	defer timer.Stop()
	errs := make(chan error, publishers)
	for range publishers {
		go func() {
			for f.enter(1) {
				if err := publish(ctx); err != nil {
					f.stop()
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var failed error
	for range publishers {
		if err := <-errs; err != nil && failed == nil {
			failed = err
		}
	}
	if failed != nil {
		return nil, failed
	}
	if err := f.drained(ctx); err != nil {
		return nil, err
	}
	return clock.per(f.got.Load()), nil
}

// pace is a steady stream of numbered messages and their times.
type pace struct {
	sent     []atomic.Int64 // ns since start
	took     []time.Duration
	start    time.Time
	arrivals atomic.Int64
	done     chan struct{}
}

func newPace(length time.Duration) *pace {
	n := max(1, int(length.Seconds()*rate))
	return &pace{sent: make([]atomic.Int64, n), took: make([]time.Duration, n), start: time.Now(), done: make(chan struct{})}
}

// arrived takes the time of the next message; messages arrive in order.
func (p *pace) arrived() {
	now := time.Since(p.start)
	i := p.arrivals.Add(1) - 1
	if int(i) >= len(p.sent) {
		return // run tells
	}
	p.took[i] = now - time.Duration(p.sent[i].Load())
	if int(i) == len(p.sent)-1 {
		close(p.done)
	}
}

// run publishes at the rate and returns how long messages took from just before
// publish to arrived.
func (p *pace) run(ctx context.Context, publish func(ctx context.Context) error) (figures, error) {
	runtime.GC()
	next := time.Now()
	for i := range p.sent {
		time.Sleep(time.Until(next))
		// Who wakes up late does not catch up with a burst: that would measure queues.
		next = later(next, time.Now()).Add(time.Second / rate)
		p.sent[i].Store(int64(time.Since(p.start)))
		if err := publish(ctx); err != nil {
			return nil, err
		}
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(10 * time.Second):
	}
	if n := p.arrivals.Load(); n != int64(len(p.sent)) {
		return nil, fmt.Errorf("%d messages sent, %d arrived", len(p.sent), n)
	}
	slices.Sort(p.took)
	micros := func(q int) float64 { return float64(p.took[len(p.took)*q/100]) / 1e3 }
	return figures{{"p50 µs", micros(50)}, {"p99 µs", micros(99)}}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
