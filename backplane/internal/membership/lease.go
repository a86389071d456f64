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

	heardSince, heardUntil time.Time // of frames of any node
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

// echo handles a frame of this node that came back. It reports whether a lease begins.
func (l *lease) echo(number uint64) (begins bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number == 0 || number > l.last || l.last-number >= leaseFrames {
		return false
	}
	sent, now := l.sent[number%leaseFrames], time.Now()
	if begins = l.since.IsZero() || passed(l.until, now); begins {
		l.since = now
	}
	if until := sent.Add(l.length); until.After(l.until) {
		l.until = until
	}
	return begins
}

// term returns since when the lease has held without a gap, and until when it holds.
func (l *lease) term() (since, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since, l.until
}

// Proof says whether received frames prove that this node publishes and receives.
type Proof struct {
	// Publishes is about own frames that came back, Receives about frames of any node. Each holds for as long as a
	// lease.
	Publishes, Receives bool
	// PublishesSince and ReceivesSince are when that last changed; zero before the first frame.
	PublishesSince, ReceivesSince time.Time
}

// heard records a frame of any node. It reports whether a proof begins.
func (l *lease) heard() (begins bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if begins = passed(l.heardUntil, now); begins {
		l.heardSince = now
	}
	l.heardUntil = now.Add(l.length)
	return begins
}

func (l *lease) proven() Proof {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	p := Proof{true, true, l.since, l.heardSince}
	if passed(l.until, now) {
		p.Publishes, p.PublishesSince = false, l.until
	}
	if passed(l.heardUntil, now) {
		p.Receives, p.ReceivesSince = false, l.heardUntil
	}
	return p
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
