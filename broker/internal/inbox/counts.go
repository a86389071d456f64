package inbox

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Counts are what a broker's inboxes have done together.
type Counts struct {
	received      atomic.Uint64
	interruptions atomic.Uint64

	born  time.Time
	mu    sync.Mutex
	down  int           // inboxes whose receiver misses something now
	total time.Duration // from born to each end, less that to each beginning
}

// NewCounts begins at zero.
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

// Fill writes the counters into s, apart from Subscriptions.
func (c *Counts) Fill(s *broker.Stats) {
	s.Received = c.received.Load()
	s.Interruptions = c.interruptions.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Interrupted = c.total + time.Duration(c.down)*time.Since(c.born)
}
