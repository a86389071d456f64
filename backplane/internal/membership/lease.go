package membership

import (
	"sync"
	"time"
)

// lease records how long other nodes are sure to regard this node as live. Its own control frames, received back from
// the broker, renew it, counted from the moment at which they were sent: a frame that waited in a buffer while the
// process was stopped proves nothing about the time after.
type lease struct {
	length time.Duration

	mu    sync.Mutex
	last  uint64
	sent  [leaseFrames]time.Time // when the frame with that number was sent
	since time.Time
	until time.Time
}

// leaseFrames limits the frames in flight: an older echo renews nothing.
const leaseFrames = 16

// init sets the length of the lease. Others forget a node peerTimeout after its last frame. The rest is the time for
// operations that a holder of the lease has begun.
func (l *lease) init(heartbeat, peerTimeout time.Duration) {
	l.length = peerTimeout - (peerTimeout-heartbeat)/4
}

// next numbers a frame that is about to be sent.
func (l *lease) next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.sent[l.last%leaseFrames] = time.Now()
	return l.last
}

// echo handles a frame of this node that came back.
func (l *lease) echo(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number == 0 || number > l.last || l.last-number >= leaseFrames {
		return
	}
	sent, now := l.sent[number%leaseFrames], time.Now()
	if l.since.IsZero() || passed(l.until, now) {
		l.since = now
	}
	if until := sent.Add(l.length); until.After(l.until) {
		l.until = until
	}
}

// term returns since when the lease has held without a gap, and until when it holds.
func (l *lease) term() (since, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since, l.until
}

// holds reports whether the lease that began at since holds now.
func (l *lease) holds(since time.Time) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return !since.IsZero() && l.since.Equal(since) && !passed(l.until, now)
}

// passed reports whether the moment at has passed at the time now. It compares both clocks, because the monotonic one
// stops while a machine is suspended.
func passed(at, now time.Time) bool {
	return !now.Before(at) || !now.Round(0).Before(at.Round(0))
}
