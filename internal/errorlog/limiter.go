package errorlog

import (
	"context"
	"sync"
	"time"
)

const (
	// Burst is how many errors of one cause are passed on at once, one by one.
	Burst = 4
	// Interval is the time in which those that follow become one.
	Interval = time.Second
)

// maxCauses limits the causes that a Limiter remembers.
const maxCauses = 256

// Limiter passes on the first errors of each cause, Burst of them, at once, and those that follow as one in an Interval.
// So a flood of bad messages causes few reports, and each error is in one of them.
type Limiter struct {
	// Cause is the same for errors that may become one. It is comparable; nil means that the error is passed on.
	Cause func(err error) any
	// Merge returns one error for two of a cause.
	Merge func(waiting, err error) error
	// Pass passes an error on. It must not block, or call the Limiter.
	Pass func(ctx context.Context, err error)
	// Lost counts an error with a cause that there is no room to remember.
	Lost func()

	mu     sync.Mutex
	recent map[any]*recent
	timer  *time.Timer
	closed bool
}

// recent is a cause of which an error was passed on less than Interval ago.
type recent struct {
	until time.Time
	n     int // how many were passed on one by one
	ctx   context.Context
	err   error // what follows at its end; nil if there is nothing
}

// Report passes an error on, at once or later.
func (l *Limiter) Report(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cause := l.Cause(err)
	if cause == nil || l.closed {
		l.Pass(ctx, err)
		return
	}
	switch r := l.recent[cause]; {
	case r == nil && len(l.recent) >= maxCauses:
		l.Lost()
	case r == nil:
		if l.recent == nil {
			l.recent = map[any]*recent{}
		}
		l.recent[cause] = &recent{until: time.Now().Add(Interval), n: 1}
		l.arm(Interval)
		l.Pass(ctx, err)
	case r.n < Burst:
		r.n++
		l.Pass(ctx, err)
	case r.err == nil:
		r.ctx, r.err = ctx, err
	default:
		r.err = l.Merge(r.err, err)
	}
}

// arm arranges a call of tick, if there is none yet. The caller holds mu.
func (l *Limiter) arm(d time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.tick)
	}
}

// tick passes on what has waited for Interval, and forgets other causes.
func (l *Limiter) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	if l.closed {
		return
	}
	now, next := time.Now(), time.Time{}
	for cause, r := range l.recent {
		if !r.until.After(now) {
			if r.err == nil {
				delete(l.recent, cause)
				continue
			}
			l.Pass(r.ctx, r.err)
			*r = recent{until: now.Add(Interval), n: Burst}
		}
		if next.IsZero() || r.until.Before(next) {
			next = r.until
		}
	}
	if !next.IsZero() {
		l.arm(next.Sub(now))
	}
}

// Close passes on all that waits. Later errors are passed on at once.
func (l *Limiter) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	for _, r := range l.recent {
		if r.err != nil {
			l.Pass(r.ctx, r.err)
		}
	}
	l.recent = nil
}
