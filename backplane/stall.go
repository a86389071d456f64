package backplane

import (
	"sync"
	"time"
)

// patience is how long members' methods may take before they are left behind. At first
// that is StallTimeout. Each one that was left behind halves it, so that many members
// that block cost little more than two StallTimeouts together; when none was for a
// StallTimeout, the patience is whole again.
type patience struct {
	mu   sync.Mutex
	lost int // members, in short succession
	last time.Time
}

// mostHalvings of the patience are done.
const mostHalvings = 8

// left returns how long a method may take.
func (p *patience) left(n *Node) time.Duration {
	whole := n.opts.StallTimeout
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost > 0 && time.Since(p.last) > whole {
		p.lost = 0
	}
	return max(whole>>min(p.lost, mostHalvings), min(whole, time.Millisecond))
}

// lose notes that a method was left behind.
func (p *patience) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost++
	p.last = time.Now()
}
