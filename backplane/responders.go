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
	peers int // census.peers at the time
	ids   []string
}

const responderMemory = 2 * time.Second

// responders counts the unannounced peers with a response channel of their own; from
// memory, unless it has to be as of now.
func (ns *Namespace) responders(ctx context.Context, c *census, now bool) (int, error) {
	m := &ns.response
	m.mu.Lock()
	ids, known := m.ids, !now && m.peers == c.peers() && time.Now().Before(m.until)
	m.mu.Unlock()
	if !known {
		// Without the lock, which no context could end: a few questions at the same time
		// may each ask.
		var err error
		if ids, err = ns.node.broker.Responders(ctx, ns.protocol, ns.name); ids == nil {
			return -1, err
		}
		m.mu.Lock()
		m.until, m.peers, m.ids = time.Now().Add(responderMemory), c.peers(), ids
		m.mu.Unlock()
	}
	// Counted anew each time: who was a stranger then may have introduced itself since.
	count := 0
	for _, id := range ids {
		if id != ns.node.id && !slices.Contains(c.alive, id) && !slices.Contains(c.ghosts, id) && !slices.Contains(c.leaving, id) {
			count++
		}
	}
	return min(count, c.others.Total), nil
}
