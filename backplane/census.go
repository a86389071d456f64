package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// census is who listens to a namespace's requests at one moment, without this node.
type census struct {
	alive   []string                    // announced nodes
	bad     map[string]membership.Trust // of them: those that missed a deadline
	gone    []string                    // announced nodes that do not listen any more
	ghosts  []string                    // nodes that listen and expired, or said that they leave
	leaving []string                    // nodes that said goodbye: not waited for
	others  wire.Unannounced
	err     error // why nobody could be counted; then all are in gone
	unseen  int   // then: others, when they were last counted

	inexact error // a *broker.InexactError: more may listen than were counted

	// unknown are live nodes that may serve the namespace, where nobody can be counted.
	unknown []string
	// unsettled: there are Crossroom nodes, or may be, that this one has not heard of.
	unsettled bool
}

// peers is how many others hold the namespace.
func (c *census) peers() int { return len(c.alive) + len(c.ghosts) + c.others.Total }

// doubt is an error if the census may be incomplete and nobody is known to be missing.
func (c *census) doubt() error {
	if c.unsettled {
		return ErrNotIntroduced
	}
	return nil
}

// census asks the broker, if it can count, who of the announced nodes still listens,
// and how many others do, and what can be said of those.
//
// A request that may harm some of them is published right after a count: nothing is
// remembered, and if another server has come while they were looked at, they are looked at
// again.
func (ns *Namespace) census(ctx context.Context, op wire.Op) (census, error) {
	careful := op == wire.OpBroadcast || op == wire.OpCustom
	for tries := 1; ; tries++ {
		c, err := ns.listeners(ctx)
		if err != nil || c.others.Total == 0 || !ns.node.caps.ListsResponders {
			return c, err
		}
		// Worth knowing, but no reason to fail: a server may forbid asking.
		if c.others.Responding, err = ns.responders(ctx, &c, careful); err != nil && ctx.Err() != nil {
			c.refuse(err)
			return c, err
		}
		if !careful {
			return c, nil
		}
		again, err := ns.listeners(ctx)
		again.others.Responding = c.others.Responding
		if err != nil || tries == 4 || again.others.Total == c.others.Total {
			return again, err
		}
	}
}

// refuse leaves everybody out, for a reason.
func (c *census) refuse(err error) {
	c.gone = slices.Concat(c.gone, c.alive, c.ghosts)
	c.unseen, c.err = c.unseen+c.others.Total, err
	c.alive, c.ghosts, c.others.Total = nil, nil, 0
}

// listeners is the census without a closer look at the others.
func (ns *Namespace) listeners(ctx context.Context) (census, error) {
	if !ns.node.caps.CountsSubscribers {
		c := census{others: wire.Unannounced{Responding: -1}}
		ns.acquaintances(ctx, &c)
		return c, nil
	}
	// A node that leaves is counted for a moment after its goodbye, and one that starts
	// before its introduction has come: look again.
	end := time.Now().Add(ns.node.members.IntroTime())
	for pause := time.Millisecond; ; pause *= 2 {
		last := !time.Now().Before(end)
		c, again, err := ns.counted(ctx, last)
		if err != nil || !again || last || ctx.Err() != nil || ns.node.life.Err() != nil {
			return c, err
		}
		ns.node.members.Pause(ctx, min(pause, time.Until(end)))
	}
}

// acquaintances has a census list the nodes that are known, where the broker cannot
// count. It waits for introductions that are under way.
func (ns *Namespace) acquaintances(ctx context.Context, c *census) {
	ns.node.members.Await(ctx)
	w := ns.node.members.Serving(ns.key())
	c.alive, c.bad, c.unknown = w.Alive, w.Bad, w.Unknown
	c.unsettled = w.Greeting
}

// union lists what is in either of two lists, sorted.
func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

// counted is the census where the broker can count. again: it is worth to look again,
// if this is not the last time anyway.
func (ns *Namespace) counted(ctx context.Context, last bool) (c census, again bool, err error) {
	c.others.Responding = -1
	w := ns.node.members.Serving(ns.key())
	c.bad, c.leaving = w.Bad, w.Leaving
	channels := []broker.Channel{ns.protocol.Requests(ns.name), ns.protocol.NodeResponses(ns.name, ns.node.id)}
	lists := [][]string{w.Alive, w.Leaving, w.Ghosts, w.Elsewhere}
	for _, list := range lists {
		for _, id := range list {
			channels = append(channels, ns.protocol.NodeResponses(ns.name, id))
		}
	}
	counts, nodes, err := ns.count(ctx, channels, len(channels)-len(w.Elsewhere))
	ns.node.members.Counted(err)
	if inexact, ok := errors.AsType[*broker.InexactError](err); ok {
		c.inexact, err = inexact, nil
	}
	unseen := int(ns.unannounced.Load())
	switch {
	case err != nil:
		c.gone, c.err, c.unseen = w.Alive, err, unseen
		return c, false, err
	case counts == nil: // known peers, and as many others as before
		ns.acquaintances(ctx, &c)
		c.others.Total = unseen
		return c, false, nil
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
	c.alive, c.gone = there(w.Alive)
	leaving, _ := there(w.Leaving)
	var forgotten []string
	c.ghosts, forgotten = there(w.Ghosts)
	fresh, _ := there(w.Elsewhere) // it is not known yet that they serve it
	c.alive = slices.Sorted(slices.Values(append(c.alive, fresh...)))
	named := len(c.alive) + len(c.ghosts) + len(leaving)
	for _, id := range leaving {
		if last || slices.Contains(w.Overdue, id) {
			c.ghosts = append(c.ghosts, id)
		} else {
			again = true
		}
	}
	c.others.Total = max(total, 0)
	if c.inexact != nil {
		// A node that was not counted may be where the broker did not look.
		counted := c.alive
		ns.acquaintances(ctx, &c)
		c.alive = union(c.alive, counted)
		c.unknown = slices.DeleteFunc(c.unknown, func(id string) bool { return slices.Contains(counted, id) })
		c.gone = nil
		return c, false, nil
	}
	ns.node.members.Uncounted(ns.key(), forgotten)
	ns.unannounced.Store(int64(c.others.Total))
	if c.others.Total > 0 && ns.protocol != broker.Native && !again && nodes-1 != named {
		again = ns.strangers(ctx, &c, w.Known, last)
	}
	return c, again, nil
}

// strangers notes whether Crossroom nodes are there that had not introduced themselves, as
// those known had, and would be taken for servers of another kind. wait: their introductions
// are worth waiting for, which they are once.
func (ns *Namespace) strangers(ctx context.Context, census *census, known []string, last bool) (wait bool) {
	channels := []broker.Channel{broker.Control()}
	for _, id := range known {
		channels = append(channels, broker.NodeControl(id))
	}
	counts, err := ns.node.broker.Subscribers(ctx, channels...)
	if err != nil {
		return false // worth knowing, but no reason to fail
	}
	n := counts[0] - 1
	for _, c := range counts[1:] {
		n -= min(c, 1)
	}
	census.unsettled = n > 0
	return ns.node.members.Strangers(n, last)
}

// count asks the broker how many listen to the namespace's requests (the first of
// channels) and to the responses of each node, and how many Crossroom nodes there are.
// The first members of channels are of nodes that are known to listen. The numbers need not be of one moment:
// a node that leaves in between is counted in the first and not by itself, as if it
// were an unannounced one. So if there seem to be some, look again until no more nodes
// are absent than before.
func (ns *Namespace) count(ctx context.Context, channels []broker.Channel, members int) (counts []int, nodes int, err error) {
	channels = append(channels, broker.Control())
	before := 0
	for range 4 {
		if counts, err = ns.node.broker.Subscribers(ctx, channels...); counts == nil {
			return nil, 0, err
		}
		last := len(counts) - 1
		counts, nodes = counts[:last], counts[last]
		unnamed, absent := counts[0], 0
		for i, n := range counts[1:] {
			if n > 0 {
				unnamed--
			} else if i+1 < members {
				absent++
			}
		}
		if unnamed <= 0 || absent == before {
			break
		}
		before = absent
	}
	return counts, nodes, err
}

// unreachable is the outcome if the broker cannot be asked who is there.
func (c *census) unreachable(ns *Namespace, op wire.Op, err error) (f Coverage, _ error) {
	err = fmt.Errorf("the broker did not say who is there: %w", err)
	for _, id := range c.gone {
		f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: err})
	}
	if c.unseen > 0 {
		f.Missing = append(f.Missing, Missing{Count: c.unseen, Reason: err})
	}
	return f, ns.partial(context.Background(), op, f, err)
}
