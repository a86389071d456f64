package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/crossroom/crossroom/backplane"
)

var fleetConcurrentCases = []Case{
	{Name: "F16_Everything", Clauses: []Clause{f16, f3}, Timing: true, run: caseFleetEverything},
}

// caseFleetEverything makes all calls on three nodes at the same time, preferably under the race detector, while other
// nodes come and go. A steady stream of broadcasts beside them must stay complete.
func caseFleetEverything(ctx context.Context, e *env) error {
	const rounds = 30
	// A node that comes and leaves between two snapshots may cost a quarter of the timeout.
	c, err := e.assemble(ctx, 3, fleetOptions{timeout: longTimeout / 2})
	if err != nil {
		return err
	}
	steady, err := c.join(ctx, 1, "steady", "steady-room")
	if err != nil {
		return err
	}
	if _, err := c.join(ctx, 2, "fixed"); err != nil {
		return err
	}
	guests := &fleet{env: e, spaces: c.spaces}
	defer func() { guests.close(ctx) }()

	work := map[string]func(node, i int) error{
		"Broadcast": func(node, i int) error {
			return c.ns(node).Broadcast(ctx, []byte("noise"), backplane.To(fmt.Sprint(i%5)))
		},
		"Add and Remove": func(node, i int) error {
			id := fmt.Sprintf("guest-%d-%d", node, i)
			if err := c.ns(node).Add(ctx, &fleetMember{id: id, changed: make(chan struct{}), ns: c.ns(node)}); err != nil {
				return err
			}
			if err := c.ns(node).Join(ctx, id, fmt.Sprint(i%5)); err != nil {
				return err
			}
			c.ns(node).Remove(id)
			return nil
		},
		"Members":       func(node, _ int) error { return second(c.ns(node).Members(ctx, backplane.All())) },
		"MembersDetail": func(node, i int) error { return second(c.ns(node).MembersDetail(ctx, backplane.To(fmt.Sprint(i%5)))) },
		"AllRooms":      func(node, _ int) error { return second(c.ns(node).AllRooms(ctx)) },
		"RoomsOf":       func(node, _ int) error { return second(c.ns(node).RoomsOf(ctx, "fixed")) },
		"Join":          func(node, i int) error { return c.ns(node).Join(ctx, "fixed", fmt.Sprint("room-", node, i)) },
		"Leave":         func(node, i int) error { return c.ns(node).Leave(ctx, "fixed", fmt.Sprint("room-", node, i-1)) },
		"JoinAll": func(node, i int) error {
			return second(c.ns(node).JoinAll(ctx, backplane.To(fmt.Sprint(i%5)), "together"))
		},
		"LeaveAll": func(node, _ int) error { return second(c.ns(node).LeaveAll(ctx, backplane.To("together"), "together")) },
		"Request":  func(node, _ int) error { return second(c.ns(node).Request(ctx, []byte("who"))) },
		"Event":    func(node, _ int) error { return c.ns(node).Event(ctx, []byte("so")) },
		"BroadcastAck": func(node, _ int) error {
			return second(c.ns(node).BroadcastAck(ctx, []byte("who"), backplane.To("fixed"), longTimeout))
		},
		"Peers": func(node, _ int) error {
			c.nodes[node].node.KnownPeers()
			c.nodes[node].node.Stats()
			return errors.Join(second(c.ns(node).Peers(ctx)), second(c.ns(node).Count(ctx, backplane.All())))
		},
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var first error
	blame := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
	}
	for node := range c.nodes {
		for name, do := range work {
			all.Go(func() {
				for i := range rounds {
					// Nodes that come and go may be missing from a result.
					err := do(node, i)
					if p, ok := partial(err); ok && absent(p.Coverage, c) {
						err = nil
					}
					if err != nil {
						blame(fail(f16, "%s of node %d, with all other calls at the same time, returned %v", name, node, err))
						return
					}
				}
			})
		}
	}
	all.Go(func() {
		for range 4 {
			guest, err := guests.add(ctx)
			if err != nil {
				blame(err)
				return
			}
			if err := guest.node.Close(ctx); err != nil {
				blame(fail(f16, "Close of a node returned %v", err))
				return
			}
		}
	})
	all.Go(func() {
		for i := range 10 * rounds {
			if err := c.ns(0).Broadcast(ctx, fmt.Appendf(nil, "steady %d", i), backplane.To("steady-room")); err != nil {
				blame(fail(f16, "Broadcast with all other calls at the same time returned %v", err))
				return
			}
		}
	})
	all.Wait()
	if first != nil {
		return first
	}
	last := fmt.Sprintf("steady %d", 10*rounds-1)
	if err := steady.receives(ctx, f16, last, nil); err != nil {
		return err
	}
	steady.mu.Lock()
	defer steady.mu.Unlock()
	next := 0
	for _, text := range steady.got {
		var i int
		if n, _ := fmt.Sscanf(text, "steady %d", &i); n == 1 {
			if i != next {
				return fail(f16, "broadcast %d arrived instead of %d, with all other calls at the same time", i, next)
			}
			next++
		}
	}
	return nil
}

// absent reports whether only nodes outside of the fleet are missing, and all of them are lost.
func absent(f backplane.Coverage, c *fleet) bool {
	for _, m := range f.Missing {
		if !errors.Is(m.Reason, backplane.ErrPeerLost) {
			return false
		}
		for _, n := range c.nodes {
			if n.node.ID() == m.Node {
				return false
			}
		}
	}
	return true
}
