package conformance

import (
	"context"
	"fmt"
	"slices"

	"github.com/crossroom/crossroom/backplane"
)

var fleetBroadcastCases = []Case{
	{Name: "F02_Shapes3", Clauses: []Clause{f2, f3}, run: ofSize(3, caseShapes)},
	{Name: "F02_Shapes8", Clauses: []Clause{f2, f3}, run: ofSize(8, caseShapes)},
	{Name: "F03_Order", Clauses: []Clause{f3, f2}, run: ofSize(3, caseFleetOrder)},
}

// ofSize makes a case run on a fleet of n nodes.
func ofSize(n int, run func(context.Context, *fleet) error) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		c, err := e.assemble(ctx, n, fleetOptions{})
		if err != nil {
			return err
		}
		if err := run(ctx, c); err != nil {
			return err
		}
		return c.noReports()
	}
}

// populate gives each node four members: one in no room, one in red, one in red and blue, and a witness in all of
// these rooms and in the rooms of the ids.
func (c *fleet) populate(ctx context.Context) (witnesses []*fleetMember, err error) {
	all := []string{"red", "blue"}
	for i := range c.nodes {
		for _, rooms := range [][]string{nil, {"red"}, {"red", "blue"}} {
			p, err := c.join(ctx, i, fmt.Sprintf("n%d-%d", i, len(rooms)), rooms...)
			if err != nil {
				return nil, err
			}
			all = append(all, p.id)
		}
	}
	for i := range c.nodes {
		w, err := c.join(ctx, i, fmt.Sprintf("witness-%d", i), all...)
		if err != nil {
			return nil, err
		}
		witnesses = append(witnesses, w)
	}
	return witnesses, nil
}

// selecting describes a backplane.Target, so that a case can predict its members.
type selecting struct {
	rooms, all, not               []string
	localOnly, remoteOnly, nobody bool
}

func allMembers() selecting { return selecting{} }

func to(rooms ...string) selecting { return selecting{rooms: rooms} }

func noMember() selecting { return selecting{nobody: true} }

func (s selecting) inAll(rooms ...string) selecting { s.all = rooms; return s }

func (s selecting) except(rooms ...string) selecting { s.not = rooms; return s }

func (s selecting) local() selecting { s.localOnly = true; return s }

func (s selecting) remote() selecting { s.remoteOnly = true; return s }

func (s selecting) target() backplane.Target {
	t := backplane.All().InAll(s.all...).Except(s.not...)
	if len(s.rooms) > 0 || s.nobody {
		t = t.To(s.rooms...)
	}
	if s.localOnly {
		t = t.Local()
	}
	if s.remoteOnly {
		t = t.Remote()
	}
	return t
}

// selected returns how often a broadcast from a node should reach a member.
func (p *fleetMember) selected(from *fleetNode, t selecting) bool {
	in := func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(r string) bool { return r == p.id || slices.Contains(p.rooms, r) })
	}
	switch {
	case t.localOnly && p.at != from, t.remoteOnly && p.at == from, t.nobody:
		return false
	case slices.ContainsFunc(t.all, func(room string) bool { return !in([]string{room}) }):
		return false
	case len(t.rooms) > 0 && !in(t.rooms):
		return false
	}
	return !in(t.not)
}

// shape sends one broadcast and checks which members it reaches. A marker to the same rooms takes the same route, so
// once every witness has the marker the broadcast has reached all its members.
func (c *fleet) shape(ctx context.Context, clause Clause, from int, t selecting, witnesses []*fleetMember) error {
	c.step++
	text, marker := fmt.Sprintf("text %d", c.step), fmt.Sprintf("marker %d", c.step)
	send := func(s string, t selecting) error { return c.ns(from).Broadcast(ctx, []byte(s), t.target()) }
	route := selecting{rooms: t.rooms}
	if len(t.rooms) == 0 && len(t.all) > 0 { // it goes to the channel of a room
		route.rooms = t.all[:1]
	}
	mark := func() error { return send(marker, route) }
	if err := send(text, t); err != nil {
		return fail(clause, "Broadcast to %s failed without a fault: %v", describe(t), err)
	}
	if err := mark(); err != nil {
		return fail(clause, "Broadcast to %s failed without a fault: %v", describe(t), err)
	}
	for _, w := range witnesses {
		if err := w.receives(ctx, clause, marker, mark); err != nil {
			return err
		}
	}
	for _, p := range c.people {
		want := 0
		if p.selected(c.nodes[from], t) {
			want = 1
		}
		if n := p.count(text); n != want {
			return fail(clause, "a broadcast of node %d to %s reached member %q of node %d, in rooms %q, %d times instead of %d",
				from, describe(t), p.id, p.at.number, p.rooms, n, want)
		}
	}
	return nil
}

func describe(t selecting) string {
	s := fmt.Sprintf("rooms %q except %q", t.rooms, t.not)
	switch {
	case t.nobody:
		s = fmt.Sprintf("no member except %q", t.not)
	case len(t.rooms) == 0:
		s = fmt.Sprintf("all members except %q", t.not)
	}
	if len(t.all) > 0 {
		s += fmt.Sprintf(" in all of %q", t.all)
	}
	if t.localOnly {
		s += ", on its own node only"
	}
	if t.remoteOnly {
		s += ", on the other nodes only"
	}
	return s
}

func caseShapes(ctx context.Context, c *fleet) error {
	witnesses, err := c.populate(ctx)
	if err != nil {
		return err
	}
	far := fmt.Sprintf("n%d-1", c.last())
	shapes := []selecting{
		allMembers(),
		to("red"),
		to("red", "blue"),
		to("blue", "empty"),
		to(far),
		to("n0-0", far),
		allMembers().except("red"),
		allMembers().except(far),
		to("red").except("blue"),
		to("red").except(far, "n0-2"),
		to("red", "blue").except("witness-0", "n1-1"),
		allMembers().local(),
		to("red").local(),
		to("red").except("blue").local(),
		allMembers().remote(),
		to("blue").remote(),
		allMembers().inAll("red", "blue"),
		to("blue").inAll("red"),
		to("n0-2", far).inAll("red").except("blue"),
		allMembers().inAll("blue", "empty"),
		allMembers().inAll("red", "blue").remote(),
		noMember(),
	}
	for _, from := range []int{0, 1, c.last()} {
		for _, t := range shapes {
			if err := c.shape(ctx, f2, from, t, witnesses); err != nil {
				return err
			}
		}
	}
	return nil
}

// caseFleetOrder makes all nodes broadcast to one room and to all members at the same time.
func caseFleetOrder(ctx context.Context, c *fleet) error {
	const each = 120 // together fewer than the suite may have in flight
	var people []*fleetMember
	for i := range c.nodes {
		p, err := c.join(ctx, i, fmt.Sprint("member-", i), "room")
		if err != nil {
			return err
		}
		people = append(people, p)
	}
	if err := inParallel(len(c.nodes), func(i int) error {
		for k := range each {
			to := to("room")
			if k%2 == 1 {
				to = allMembers()
			}
			if err := c.ns(i).Broadcast(ctx, fmt.Appendf(nil, "%d %d %d", i, k%2, k/2), to.target()); err != nil {
				return fail(f3, "Broadcast failed without a fault: %v", err)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, p := range people {
		for i := range c.nodes {
			for kind := range 2 {
				if err := p.receives(ctx, f3, fmt.Sprintf("%d %d %d", i, kind, each/2-1), nil); err != nil {
					return err
				}
			}
		}
		p.mu.Lock()
		got := slices.Clone(p.got)
		p.mu.Unlock()
		next := map[string]int{}
		for _, text := range got {
			var from, kind, k int
			if _, err := fmt.Sscan(text, &from, &kind, &k); err != nil {
				return fail(f3, "member %q got %q, which no node had sent", p.id, text)
			}
			way := fmt.Sprint(from, kind)
			if k != next[way] {
				return fail(f3, "member %q of node %d got message %d of node %d instead of %d", p.id, p.at.number, k, from, next[way])
			}
			next[way]++
		}
	}
	return nil
}
