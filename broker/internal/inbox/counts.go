package inbox

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Counts are the sums over all inboxes of a broker.
type Counts struct {
	received      atomic.Uint64
	interruptions atomic.Uint64

	born  time.Time
	mu    sync.Mutex
	down  int           // inboxes whose receiver misses messages now
	total time.Duration // time from born to each end of an interruption, minus that to each beginning
}

// NewCounts returns counts of zero.
func NewCounts() *Counts { return &Counts{born: time.Now()} }

func (c *Counts) began() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down++
	c.total -= time.Since(c.born)
}

func (c *Counts) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down--
	c.total += time.Since(c.born)
}

// Fill writes the counters into s, except Subscriptions.
func (c *Counts) Fill(s *broker.Stats) {
	s.Received = c.received.Load()
	s.Interruptions = c.interruptions.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Interrupted = c.total + time.Duration(c.down)*time.Since(c.born)
}
