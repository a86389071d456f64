package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crossroom/crossroom/broker"
)

// census is who listens to a namespace's requests at one moment, without this node.
type census struct {
	alive   []string         // announced nodes
	bad     map[string]trust // of them: those that missed a deadline
	gone    []string         // announced nodes that do not listen any more
	ghosts  []string         // nodes that listen and were not heard of for PeerTimeout
	leaving []string         // nodes that said goodbye: not waited for
	others  Unannounced
	err     error // why nobody could be counted; then all are in gone
	unseen  int   // then: others, when they were last counted
	inexact error // a *broker.InexactError: more may listen than were counted
}

// peers is how many others hold the namespace.
func (c *census) peers() int { return len(c.alive) + len(c.ghosts) + c.others.Total }

// census asks the broker, if it can count, who of the announced nodes still listens,
// and how many others do, and what can be said of those.
func (ns *Namespace) census(ctx context.Context) (census, error) {
	c, err := ns.listeners(ctx)
	if err != nil || c.others.Total == 0 || !ns.node.caps.ListsResponders {
		return c, err
	}
	// Worth knowing, but no reason to fail: a server may forbid asking.
	if c.others.Responding, err = ns.responders(ctx, &c); err != nil && ctx.Err() != nil {
		c.refuse(err)
		return c, err
	}
	return c, nil
}

// refuse leaves everybody out, for a reason.
func (c *census) refuse(err error) {
	c.gone = slices.Concat(c.gone, c.alive, c.ghosts)
	c.unseen, c.err = c.unseen+c.others.Total, err
	c.alive, c.ghosts, c.others.Total = nil, nil, 0
}

// listeners is the census without a closer look at the others.
func (ns *Namespace) listeners(ctx context.Context) (c census, err error) {
	c.others.Responding = -1
	key := nsKey{ns.wire, ns.name}
	ids, bad, leaving, ghosts := ns.node.peers.whereabouts(key)
	c.bad = bad
	if !ns.node.caps.CountsSubscribers {
		c.alive = ids
		return c, nil
	}
	c.leaving = leaving
	channels := make([]broker.Channel, 0, len(ids)+len(leaving)+len(ghosts)+2)
	channels = append(channels, ns.wire.Requests(ns.name), ns.wire.NodeResponses(ns.name, ns.node.id))
	for _, list := range [][]string{ids, leaving, ghosts} {
		for _, id := range list {
			channels = append(channels, ns.wire.NodeResponses(ns.name, id))
		}
	}
	counts, err := ns.count(ctx, channels)
	if inexact, ok := errors.AsType[*broker.InexactError](err); ok {
		c.inexact, err = inexact, nil
	}
	last := int(ns.unannounced.Load())
	switch {
	case err != nil:
		c.gone, c.err, c.unseen = ids, err, last
		return c, err
	case counts == nil: // a broker that cannot count: known peers, and as many others as before
		c.alive, c.others.Total = ids, last
		return c, nil
	}
	// there tells those of a list that listen from those that do not.
	total, next := counts[0]-min(counts[1], 1), 2
	there := func(list []string) (yes, no []string) {
		for _, id := range list {
			if counts[next] > 0 {
				yes = append(yes, id)
				total--
			} else {
				no = append(no, id)
			}
			next++
		}
		return yes, no
	}
	c.alive, c.gone = there(ids)
	there(leaving)
	c.ghosts, ghosts = there(ghosts)
	c.others.Total = max(total, 0)
	if c.inexact != nil {
		// A node that was not counted may be where the broker did not look.
		c.alive, c.gone = ids, nil
		return c, nil
	}
	ns.node.peers.vanished(key, ghosts)
	ns.unannounced.Store(int64(c.others.Total))
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
		counts, err = ns.node.broker.Subscribers(ctx, channels...)
		if counts == nil {
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
	return counts, err
}

// unreachable is the outcome if the broker cannot be asked who is there.
func (c *census) unreachable(ns *Namespace, op Op, err error) (f Fleet, _ error) {
	err = fmt.Errorf("the broker did not say who is there: %w", err)
	for _, id := range c.gone {
		f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: err})
	}
	if c.unseen > 0 {
		f.Missing = append(f.Missing, Missing{Count: c.unseen, Reason: err})
	}
	return f, ns.partial(context.Background(), op, f, err)
}
