package backplane

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// census is who listens to a namespace's requests at one moment, without this node.
type census struct {
	alive   []string        // announced nodes
	suspect map[string]bool // of them: asked, but not waited for
	gone    []string        // announced nodes that do not listen any more
	leaving []string        // nodes that said goodbye: not waited for
	others  Unannounced
	err     error // why nobody could be counted; then all are in gone
}

func (c *census) peers() int { return len(c.alive) + c.others.Total }

// census asks the broker, if it can count, who of the announced nodes still listens,
// and how many others do, and what can be said of those.
func (ns *Namespace) census(ctx context.Context) (census, error) {
	c, err := ns.listeners(ctx)
	if err != nil || c.others.Total == 0 || !ns.node.caps.ListsResponders {
		return c, err
	}
	// Worth knowing, but no reason to fail: a server may forbid asking.
	if c.others.Responding, err = ns.responders(ctx, &c); err != nil && ctx.Err() != nil {
		c.gone = append(c.gone, c.alive...)
		c.alive, c.others.Total, c.err = nil, 0, err
		return c, err
	}
	return c, nil
}

// listeners is the census without a closer look at the others.
func (ns *Namespace) listeners(ctx context.Context) (c census, err error) {
	c.others.Responding = -1
	ids, suspect := ns.node.peers.in(nsKey{ns.wire, ns.name})
	c.suspect = suspect
	if !ns.node.caps.CountsSubscribers {
		c.alive = ids
		return c, nil
	}
	c.leaving = ns.node.peers.leavers(nsKey{ns.wire, ns.name})
	channels := make([]broker.Channel, 0, len(ids)+len(c.leaving)+2)
	channels = append(channels, ns.wire.Requests(ns.name), ns.wire.NodeResponses(ns.name, ns.node.id))
	for _, id := range ids {
		channels = append(channels, ns.wire.NodeResponses(ns.name, id))
	}
	for _, id := range c.leaving {
		channels = append(channels, ns.wire.NodeResponses(ns.name, id))
	}
	counts, err := ns.count(ctx, channels)
	if err != nil {
		c.gone, c.err = ids, err
		return c, err
	}
	total := counts[0] - min(counts[1], 1)
	for i, id := range ids {
		if counts[i+2] > 0 {
			c.alive = append(c.alive, id)
			total--
		} else {
			c.gone = append(c.gone, id)
		}
	}
	for i := range c.leaving {
		total -= min(counts[len(ids)+2+i], 1)
	}
	c.others.Total = max(total, 0)
	return c, nil
}

// count asks the broker how many listen to the namespace's requests (the first of
// channels) and to the responses of each node. The numbers need not be of one moment:
// a node that leaves in between is counted in the first and not by itself, as if it
// were an unannounced one. So if there seem to be some, look again until no more nodes
// are absent than before.
func (ns *Namespace) count(ctx context.Context, channels []broker.Channel) (counts []int, err error) {
	before := 0
	for range 4 {
		if counts, err = ns.node.broker.Subscribers(ctx, channels...); err != nil {
			return nil, err
		}
		unnamed, absent := counts[0], 0
		for _, n := range counts[1:] {
			if n > 0 {
				unnamed--
			} else {
				absent++
			}
		}
		if unnamed <= 0 || absent == before {
			break
		}
		before = absent
	}
	return counts, nil
}

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
		if id != ns.node.id && !slices.Contains(c.alive, id) && !slices.Contains(c.leaving, id) {
			count++
		}
	}
	count = min(count, c.others.Total)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until, m.total, m.count = time.Now().Add(responderMemory), c.others.Total, count
	return count, nil
}

// unreachable is the outcome if the broker cannot be asked who is there.
func (c *census) unreachable(ns *Namespace, op Op, err error) (f Fleet, _ error) {
	err = fmt.Errorf("the broker did not say who is there: %w", err)
	for _, id := range c.gone {
		f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: err})
	}
	return f, ns.partial(context.Background(), op, f, err)
}
