package backplane

import (
	"context"
	"slices"
	"sync"
	"time"
)

// responderCache remembers the answer of Broker.Responders, which may be slow.
type responderCache struct {
	mu    sync.Mutex
	until time.Time
	total int // census.others.Total at the time
	count int
}

const responderMemory = 2 * time.Second

// responders counts the unannounced peers with a response channel of their own.
func (ns *Namespace) responders(ctx context.Context, c *census) (int, error) {
	m := &ns.response
	m.mu.Lock()
	count, known := m.count, m.total == c.others.Total && time.Now().Before(m.until)
	m.mu.Unlock()
	if known {
		return count, nil
	}
	// Without the lock, which no context could end: a few questions at the same time
	// may each ask.
	ids, err := ns.node.broker.Responders(ctx, ns.wire, ns.name)
	if err != nil {
		return -1, err
	}
	count = 0
	for _, id := range ids {
		if id != ns.node.id && !slices.Contains(c.alive, id) && !slices.Contains(c.ghosts, id) && !slices.Contains(c.leaving, id) {
			count++
		}
	}
	count = min(count, c.others.Total)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until, m.total, m.count = time.Now().Add(responderMemory), c.others.Total, count
	return count, nil
}
