package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

var fleetMembershipCases = []Case{
	{Name: "F01_LateJoiner", Clauses: []Clause{f1, f8}, Timing: true, run: caseLate},
	{Name: "F08_Peers3", Clauses: []Clause{f8}, run: ofSize(3, casePeers)},
	{Name: "F08_Peers8", Clauses: []Clause{f8}, run: ofSize(8, casePeers)},
	{Name: "F09_TwoLeave", Clauses: []Clause{f9, f8}, Timing: true, run: caseTwoLeave},
	{Name: "F14_SameID", Clauses: []Clause{f14}, Timing: true, run: caseSameID},
	{Name: "F14_Twice", Clauses: []Clause{f14}, run: ofSize(3, caseTwice)},
}

// caseLate adds node after node. To each new node it broadcasts and sends requests at once.
func caseLate(ctx context.Context, e *env) error {
	c, err := e.assemble(ctx, 2, fleetOptions{})
	if err != nil {
		return err
	}
	for i := 2; i < 8; i++ {
		m, err := c.add(ctx)
		if err != nil {
			return err
		}
		p, err := c.join(ctx, i, fmt.Sprint("late-", i), "room")
		if err != nil {
			return err
		}
		for from := range i {
			for k, t := range []selecting{allMembers(), to("room"), to(p.id)} {
				if err := c.ns(from).Broadcast(ctx, fmt.Appendf(nil, "%d %d", from, k), t.target()); err != nil {
					return fail(f1, "Broadcast failed without a fault: %v", err)
				}
				// A later message on the same route shows that an earlier one is lost.
				mark := func() error { return c.ns(from).Broadcast(ctx, fmt.Appendf(nil, "%d %d after", from, k), t.target()) }
				if err := mark(); err != nil {
					return fail(f1, "Broadcast failed without a fault: %v", err)
				}
				if err := p.receives(ctx, f1, fmt.Sprintf("%d %d after", from, k), mark); err != nil {
					return err
				}
				if n := p.count(fmt.Sprintf("%d %d", from, k)); n != 1 {
					return fail(f1, "the broadcast of node %d to %s after node %d had joined arrived %d times", from, describe(t), i, n)
				}
			}
		}
		ask := func() error {
			for _, asker := range []*fleetNode{c.nodes[0], m} {
				r, err := orEmpty(asker.spaces[onlySpace].Request(ctx, []byte("who")))
				if err := c.whole(f1, "Request", asker, r.Coverage, err); err != nil {
					return err
				}
			}
			return nil
		}
		if m.Broker.Capabilities().CountsSubscribers {
			err = ask() // at once
		} else {
			err = eventually(ctx, ask)
		}
		if err != nil {
			return err
		}
		if err := eventually(ctx, func() error { return c.knows(m, c.ids(m)) }); err != nil {
			return err
		}
	}
	if err := c.awaitPeers(ctx); err != nil {
		return err
	}
	return c.noReports()
}

func casePeers(ctx context.Context, c *fleet) error {
	for _, m := range c.nodes {
		for _, p := range m.node.KnownPeers() {
			if p.Since.IsZero() || p.Suspect || len(p.Speaks) == 0 {
				return fail(f8, "node %d lists a peer as %+v without a fault", m.number, p)
			}
		}
		if err := c.counts(ctx, m, len(c.nodes)); err != nil {
			return err
		}
	}
	// A second namespace on some nodes is in their lists and affects no other node.
	for i := range 2 {
		if _, err := c.nodes[i].node.Namespace(ctx, "/second", nil); err != nil {
			return fail(f1, "Namespace failed without a fault: %v", err)
		}
	}
	asker := c.nodes[c.last()]
	if err := eventually(ctx, func() error {
		n := 0
		for _, p := range asker.node.KnownPeers() {
			if slices.Equal(p.Namespaces, []string{onlySpace, "/second"}) {
				n++
			}
		}
		if n != 2 {
			return fail(f8, "node %d lists %d peers that serve /second instead of 2: %+v", asker.number, n, asker.node.KnownPeers())
		}
		return nil
	}); err != nil {
		return err
	}
	return c.counts(ctx, asker, len(c.nodes))
}

func (c *fleet) counts(ctx context.Context, m *fleetNode, want int) error {
	p, err := orEmpty(m.spaces[c.spaces[0]].Peers(ctx))
	if err != nil || p.Total() != want {
		return fail(f8, "Peers of node %d counted %d servers, %s instead of %d", m.number, p.Total(), errText(err), want)
	}
	return nil
}

// caseTwoLeave closes two nodes of five at the same time while another node sends requests.
func caseTwoLeave(ctx context.Context, e *env) error {
	c, err := e.assemble(ctx, 5, fleetOptions{heartbeat: time.Second, peerTimeout: longTimeout})
	if err != nil {
		return err
	}
	asker, leaving := c.nodes[0], []*fleetNode{c.nodes[2], c.nodes[4]}
	stay := c.ids(append(leaving, asker)...)
	question := func() error {
		began := time.Now()
		r, err := orEmpty(asker.spaces[onlySpace].Request(ctx, []byte("who")))
		if took := time.Since(began); took > longTimeout/2 {
			return fail(f9, "while two nodes left a request took %v, its deadline being %v: %v", took, longTimeout, err)
		}
		p, isPartial := partial(err)
		if err != nil && !isPartial {
			return fail(f9, "while two nodes left a request returned %v", err)
		}
		for _, id := range stay {
			if !slices.Contains(r.Answered, id) {
				return fail(f9, "while two other nodes left node %s did not respond: %v", id, err)
			}
		}
		if !isPartial {
			return nil
		}
		for _, m := range p.Coverage.Missing {
			if m.Node != leaving[0].node.ID() && m.Node != leaving[1].node.ID() || !errors.Is(m.Reason, backplane.ErrPeerLost) {
				return fail(f9, "while two nodes left the result lacks %s", missing(p.Coverage))
			}
		}
		return nil
	}
	left, asked := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			err := question()
			select {
			case <-left:
				asked <- err
				return
			default:
			}
			if err != nil {
				asked <- err
				return
			}
		}
	}()
	err = inParallel(2, func(i int) error {
		if err := leaving[i].node.Close(ctx); err != nil {
			return fail(f9, "Close of a node without a fault returned %v", err)
		}
		return nil
	})
	close(left)
	if err := errors.Join(err, <-asked); err != nil {
		return err
	}
	c.nodes = []*fleetNode{c.nodes[0], c.nodes[1], c.nodes[3]}
	return eventually(ctx, func() error {
		for _, m := range c.nodes {
			r, err := orEmpty(m.spaces[onlySpace].Request(ctx, []byte("who")))
			if err := c.whole(f9, "after two nodes had left, Request", m, r.Coverage, err); err != nil {
				return err
			}
			if err := c.knows(m, c.ids(m)); err != nil {
				return err
			}
			if err := c.counts(ctx, m, 3); err != nil {
				return err
			}
		}
		return nil
	})
}

// caseSameID has two nodes with one id beside a third.
func caseSameID(ctx context.Context, e *env) error {
	return e.patiently(ctx, func(timeout time.Duration) error {
		c := &fleet{env: e, spaces: []string{"/same" + timeout.String()}, opts: fleetOptions{
			timeout: timeout, heartbeat: timeout / 4, peerTimeout: 10 * timeout,
			id: func(i int) string { return []string{"witness", "twin", "twin"}[i] + timeout.String() },
		}}
		defer c.close(ctx)
		for range 3 {
			if _, err := c.add(ctx); err != nil {
				return err
			}
		}
		var people []*fleetMember
		for i := range c.nodes {
			p, err := c.join(ctx, i, fmt.Sprint("member-", i))
			if err != nil {
				return err
			}
			people = append(people, p)
		}
		for _, m := range c.nodes[1:] {
			if err := eventually(ctx, func() error {
				for _, err := range m.reports() {
					if twin := (*backplane.OpError)(nil); errors.As(err, &twin) && errors.Is(err, backplane.ErrDuplicateID) && twin.Name == m.node.ID() {
						return nil
					}
				}
				return fail(f14, "node %d has the id of another node and reported only %v", m.number, m.reports())
			}); err != nil {
				return err
			}
		}
		// Whatever the results, no call takes longer than its deadline.
		if err := inParallel(len(c.nodes), func(i int) error {
			began := time.Now()
			_, err := c.ns(i).Members(ctx, backplane.All())
			if took := time.Since(began); took > timeout*3/2 {
				return fail(f14, "with two nodes of one id a request of node %d took %v, its deadline being %v: %v", i, took, timeout, err)
			}
			return nil
		}); err != nil {
			return err
		}
		if err := c.ns(0).Broadcast(ctx, []byte("to both"), backplane.All()); err != nil {
			return fail(f14, "Broadcast beside two nodes of one id failed: %v", err)
		}
		for _, p := range people {
			if err := p.receives(ctx, f14, "to both", nil); err != nil {
				return err
			}
		}
		if err := c.nodes[2].node.Close(ctx); err != nil {
			return fail(f14, "Close of a node with a duplicate id returned %v", err)
		}
		c.nodes = c.nodes[:2]
		return eventually(ctx, func() error {
			for _, m := range c.nodes {
				r, err := orEmpty(m.spaces[c.spaces[0]].Members(ctx, backplane.All()))
				if err := c.whole(f14, "after one of two nodes of one id had left, Members", m, r.Coverage, err); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// caseTwice uses one name twice.
func caseTwice(ctx context.Context, c *fleet) error {
	if _, err := c.nodes[0].node.Namespace(ctx, onlySpace, nil); !errors.Is(err, backplane.ErrNamespaceExists) {
		return fail(f14, "a second namespace of one name on one node returned %s", errText(err))
	}
	if _, err := c.join(ctx, 0, "one"); err != nil {
		return err
	}
	if err := c.ns(0).Add(ctx, &fleetMember{id: "one"}); !errors.Is(err, backplane.ErrMemberExists) {
		return fail(f14, "a second member of one id on one node returned %s", errText(err))
	}
	// A node cannot know the ids of another node's members; both are listed.
	if _, err := c.join(ctx, 1, "one"); err != nil {
		return err
	}
	m, err := orEmpty(c.ns(2).Members(ctx, backplane.To("one")))
	if err := c.whole(f14, "Members", c.nodes[2], m.Coverage, err); err != nil {
		return err
	}
	return c.sameMembers("Members of one id on two nodes", m.List, c.nodes[2], to("one"), false)
}
