package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/crossroom/crossroom/backplane"
)

var fleetQuestionCases = []Case{
	{Name: "F04_Questions3", Clauses: []Clause{f4}, run: ofSize(3, caseQuestions)},
	{Name: "F04_Questions8", Clauses: []Clause{f4}, run: ofSize(8, caseQuestions)},
	{Name: "F05_Operations3", Clauses: []Clause{f5}, run: ofSize(3, caseOperations)},
	{Name: "F05_Operations8", Clauses: []Clause{f5}, run: ofSize(8, caseOperations)},
	{Name: "F06_NoSuchMember", Clauses: []Clause{f6}, run: ofSize(3, caseNobody)},
	{Name: "F07_Replies3", Clauses: []Clause{f7}, run: onNodes(3)},
	{Name: "F07_Replies8", Clauses: []Clause{f7}, run: onNodes(8)},
}

// roomsOf is the expected result of RoomsOf, sorted.
func (p *fleetMember) roomsOf() []string {
	return slices.Sorted(slices.Values(append(slices.Clone(p.rooms), p.id)))
}

func caseQuestions(ctx context.Context, c *fleet) error {
	if _, err := c.populate(ctx); err != nil {
		return err
	}
	for _, asker := range []*fleetNode{c.nodes[0], c.nodes[c.last()]} {
		ns := asker.spaces[c.spaces[0]]
		for _, t := range []selecting{allMembers(), to("red"), to("blue").except("n0-2"), to("empty"), allMembers().inAll("red", "blue")} {
			for _, detail := range []bool{false, true} {
				ask, what := ns.Members, "Members of "+describe(t)
				if detail {
					ask, what = ns.MembersDetail, "MembersDetail of "+describe(t)
				}
				m, err := ask(ctx, t.target())
				if m == nil {
					return fail(f4, "%s returned no result: %v", what, err)
				}
				if err := c.whole(f4, what, asker, m.Coverage, err); err != nil {
					return err
				}
				if err := c.sameMembers(what, m.List, asker, t, detail); err != nil {
					return err
				}
			}
		}
		for _, t := range []selecting{allMembers(), to("red"), to("blue").except("n0-2"), allMembers().inAll("red", "blue"), allMembers().remote()} {
			list, err := gathered(ns.EachMember(ctx, t.target()))
			if err != nil {
				return fail(f4, "EachMember of %s without a fault ended with %v", describe(t), err)
			}
			if err := c.sameMembers("EachMember of "+describe(t), list, asker, t, true); err != nil {
				return err
			}
			if err := c.counted(ctx, asker, t); err != nil {
				return err
			}
		}
		if m, err := ns.Members(ctx, noMember().target()); err != nil || len(m.List) > 0 {
			return fail(f4, "Members of an empty list of rooms returned %v, %v", m, err)
		}
		var rooms []string
		for _, p := range c.people {
			rooms = append(rooms, p.roomsOf()...)
			got, err := ns.RoomsOf(ctx, p.id)
			if err != nil {
				return fail(f4, "RoomsOf(%q) without a fault returned %v", p.id, err)
			}
			slices.Sort(got)
			if !slices.Equal(got, p.roomsOf()) {
				return fail(f4, "RoomsOf(%q) are %q instead of %q", p.id, got, p.roomsOf())
			}
		}
		all, err := orEmpty(ns.AllRooms(ctx))
		if err := c.whole(f4, "AllRooms", asker, all.Coverage, err); err != nil {
			return err
		}
		slices.Sort(rooms)
		if rooms = slices.Compact(rooms); !slices.Equal(all.List, rooms) {
			return fail(f4, "AllRooms are %q instead of %q", all.List, rooms)
		}
		if each, err := gathered(ns.EachRoom(ctx)); err != nil || !slices.Equal(each, rooms) {
			return fail(f4, "EachRoom has %q, %v instead of %q", each, err, rooms)
		}
	}
	return nil
}

// gathered reads a loop to its end.
func gathered[E any](seq iter.Seq2[E, error]) (list []E, err error) {
	for e, err := range seq {
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
	return list, nil
}

// counted compares Count with the members that the case expects.
func (c *fleet) counted(ctx context.Context, asker *fleetNode, t selecting) error {
	what := "Count of " + describe(t)
	n, err := asker.spaces[c.spaces[0]].Count(ctx, t.target())
	if n == nil {
		return fail(f4, "%s returned no result: %v", what, err)
	}
	if err := c.whole(f4, what, asker, n.Coverage, err); err != nil {
		return err
	}
	want, total := map[string]int{}, 0
	for _, m := range c.nodes {
		if !t.remoteOnly || m != asker {
			want[m.node.ID()] = 0
		}
	}
	for _, p := range c.people {
		if p.selected(asker, t) {
			want[p.at.node.ID()]++
			total++
		}
	}
	if n.Total != total || !maps.Equal(n.ByNode, want) {
		return fail(f4, "%s, requested by node %d, is %d, %v instead of %d, %v", what, asker.number, n.Total, n.ByNode, total, want)
	}
	return nil
}

// sameMembers compares a list with the members that the case expects.
func (c *fleet) sameMembers(what string, list []backplane.MemberInfo, asker *fleetNode, t selecting, detail bool) error {
	var got, want []string
	for _, m := range list {
		s := m.ID + " on " + m.Node
		if detail {
			s += fmt.Sprintf(" in %q: %s", slices.Sorted(slices.Values(m.Rooms)), m.Data)
		}
		got = append(got, s)
	}
	for _, p := range c.people {
		if !p.selected(asker, t) {
			continue
		}
		s := p.id + " on " + p.at.node.ID()
		if detail {
			s += fmt.Sprintf(" in %q: %s", p.roomsOf(), p.Describe())
		}
		want = append(want, s)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fail(f4, "%s, requested by node %d, are\n    %s\n  instead of\n    %s",
			what, asker.number, strings.Join(got, "\n    "), strings.Join(want, "\n    "))
	}
	return nil
}

func caseOperations(ctx context.Context, c *fleet) error {
	witnesses, err := c.populate(ctx)
	if err != nil {
		return err
	}
	for _, w := range witnesses {
		if err := c.ns(w.at.number).Join(ctx, w.id, "new"); err != nil {
			return fail(f5, "Join of an own member failed: %v", err)
		}
		w.Joined([]string{"new"})
		w.rooms = append(w.rooms, "new")
	}
	asker := c.nodes[0]
	ns, far := c.ns(0), c.memberByID(fmt.Sprintf("n%d-0", c.last()))

	// By id. The next message of the same node finds the change done.
	if err := ns.Join(ctx, far.id, "new", "other"); err != nil {
		return fail(f5, "Join(%q) without a fault returned %v", far.id, err)
	}
	far.rooms = append(far.rooms, "new", "other")
	if err := c.shape(ctx, f5, 0, to("new"), witnesses); err != nil {
		return err
	}
	if err := ns.Leave(ctx, far.id, "new"); err != nil {
		return fail(f5, "Leave(%q) without a fault returned %v", far.id, err)
	}
	far.leave("new")
	if err := c.shape(ctx, f5, 0, to("new"), witnesses); err != nil {
		return err
	}

	// By selection.
	touch := func(what string, t selecting, do func() (*backplane.Count, error), then func(*fleetMember)) error {
		touched, err := do()
		if touched == nil {
			return fail(f5, "%s returned no result: %v", what, err)
		}
		if err := c.whole(f5, what, asker, touched.Coverage, err); err != nil {
			return err
		}
		n := 0
		for _, p := range c.people {
			if p.selected(asker, t) {
				n++
				then(p)
			}
		}
		if touched.Total != n {
			return fail(f5, "%s of %s changed %d members instead of %d", what, describe(t), touched.Total, n)
		}
		return nil
	}
	t := to("red").except("blue")
	if err := touch("JoinAll", t, func() (*backplane.Count, error) { return ns.JoinAll(ctx, t.target(), "new", "third") },
		func(p *fleetMember) { p.rooms = append(p.rooms, "new", "third") }); err != nil {
		return err
	}
	if err := c.shape(ctx, f5, 0, to("new"), witnesses); err != nil {
		return err
	}
	t = allMembers().inAll("third", "new").except(fmt.Sprintf("n%d-1", c.last()))
	if err := touch("LeaveAll", t, func() (*backplane.Count, error) { return ns.LeaveAll(ctx, t.target(), "new") },
		func(p *fleetMember) { p.leave("new") }); err != nil {
		return err
	}
	if err := c.shape(ctx, f5, 0, to("new"), witnesses); err != nil {
		return err
	}

	for _, p := range c.people {
		if err := p.keepsRooms(f5); err != nil {
			return err
		}
	}

	// A member is no longer listed after Disconnect, because it removes itself.
	if err := ns.Disconnect(ctx, far.id, true); err != nil {
		return fail(f5, "Disconnect(%q) without a fault returned %v", far.id, err)
	}
	want := map[*fleetMember][]bool{far: {true}}
	t = to("blue").except("witness-1", "n1-2")
	if err := touch("DisconnectAll", t, func() (*backplane.Count, error) {
		return ns.DisconnectAll(ctx, t.target().Reason("round is over"), false)
	},
		func(p *fleetMember) { want[p] = []bool{false} }); err != nil {
		return err
	}
	for _, p := range c.people {
		if got := p.orders(); !slices.Equal(got, want[p]) {
			return fail(f5, "Disconnect of member %q of node %d was called with %v instead of %v", p.id, p.at.number, got, want[p])
		}
		if got := p.why(); (got == "round is over") != (want[p] != nil && p != far) {
			return fail(f5, "Disconnect of member %q of node %d had the reason %q", p.id, p.at.number, got)
		}
	}
	c.people = slices.DeleteFunc(c.people, func(p *fleetMember) bool { return want[p] != nil })
	m, err := orEmpty(ns.Members(ctx, allMembers().target()))
	if err := c.whole(f5, "Members", asker, m.Coverage, err); err != nil {
		return err
	}
	return c.sameMembers("Members after disconnecting some", m.List, asker, allMembers(), false)
}

func (c *fleet) memberByID(id string) *fleetMember {
	return c.people[slices.IndexFunc(c.people, func(p *fleetMember) bool { return p.id == id })]
}

func (p *fleetMember) leave(room string) {
	p.rooms = slices.DeleteFunc(slices.Clone(p.rooms), func(r string) bool { return r == room })
}

func caseNobody(ctx context.Context, c *fleet) error {
	if _, err := c.populate(ctx); err != nil {
		return err
	}
	ns := c.ns(0)
	for _, op := range []struct {
		name string
		call func(id string) error
	}{
		{"RoomsOf", func(id string) error { return second(ns.RoomsOf(ctx, id)) }},
		{"Join", func(id string) error { return ns.Join(ctx, id, "room") }},
		{"Leave", func(id string) error { return ns.Leave(ctx, id, "red") }},
		{"Disconnect", func(id string) error { return ns.Disconnect(ctx, id, true) }},
	} {
		// The name of a room is not the id of a member.
		for _, id := range []string{"unknown", "red"} {
			if err := op.call(id); !errors.Is(err, backplane.ErrNoSuchMember) {
				return fail(f6, "%s(%q), which no node has, returned %s", op.name, id, errText(err))
			}
		}
	}
	return nil
}

// requestLog records which node received which request.
type requestLog struct {
	mu   sync.Mutex
	list []string
}

func (h *requestLog) add(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, s)
}

func (h *requestLog) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.list
	h.list = nil
	slices.Sort(list)
	return list
}

// onNodes tests requests of the application and acknowledgements.
func onNodes(n int) func(context.Context, *env) error {
	return func(ctx context.Context, e *env) error {
		var asked requestLog
		c, err := e.assemble(ctx, n, fleetOptions{request: func(_ context.Context, node int, from string, p []byte) ([]byte, error) {
			asked.add(fmt.Sprintf("%d %s %s", node, from, p))
			if string(p) == "fail" && node == 1 {
				return nil, errors.New("node 1 does not want to")
			}
			if string(p) == "nothing" {
				return nil, nil
			}
			return fmt.Appendf(nil, "%d:%s", node, p), nil
		}})
		if err != nil {
			return err
		}
		if _, err := c.populate(ctx); err != nil {
			return err
		}
		if err := c.replies(ctx, &asked); err != nil {
			return err
		}
		if err := c.acks(ctx); err != nil {
			return err
		}
		return c.noReports()
	}
}

func (c *fleet) replies(ctx context.Context, asked *requestLog) error {
	asker := c.nodes[0]
	for _, q := range []struct {
		what, text string
		ask        func(context.Context, []byte) (*backplane.Result[backplane.Reply], error)
	}{
		{"Request", "hello", c.ns(0).Request},
		{"Request", "", c.ns(0).Request},
		{"Request", "nothing", c.ns(0).Request},
		{"Request", "fail", c.ns(0).Request},
		{"EventAck", "hello", c.ns(0).EventAck},
	} {
		r, err := q.ask(ctx, []byte(q.text))
		if r == nil {
			return fail(f7, "%s returned no result: %v", q.what, err)
		}
		if err := c.whole(f7, q.what, asker, r.Coverage, err); err != nil {
			return err
		}
		var got, want, calls []string
		for _, reply := range r.List {
			got = append(got, fmt.Sprintf("%s: %q %s", reply.Node, reply.Payload, reply.Err))
		}
		for i, m := range c.nodes[1:] {
			response, failed := fmt.Sprintf("%d:%s", i+1, q.text), ""
			switch {
			case q.text == "nothing":
				response = ""
			case q.text == "fail" && i == 0:
				response, failed = "", "node 1 does not want to"
			}
			want = append(want, fmt.Sprintf("%s: %q %s", m.node.ID(), response, failed))
			calls = append(calls, fmt.Sprintf("%d %s %s", i+1, asker.node.ID(), q.text))
		}
		slices.Sort(got)
		slices.Sort(want)
		slices.Sort(calls)
		if !slices.Equal(got, want) {
			return fail(f7, "%s(%q) returned %q instead of %q", q.what, q.text, got, want)
		}
		if got := asked.take(); !slices.Equal(got, calls) {
			return fail(f7, "%s(%q) was served by %q instead of %q", q.what, q.text, got, calls)
		}
	}
	// An event has no response; the request after it takes the same route.
	if err := c.ns(0).Event(ctx, []byte("event")); err != nil {
		return fail(f7, "Event without a fault returned %v", err)
	}
	var calls []string
	for i := range c.nodes[1:] {
		calls = append(calls, fmt.Sprintf("%d %s event", i+1, asker.node.ID()))
	}
	var got []string
	if err := eventually(ctx, func() error {
		got = append(got, asked.take()...)
		if slices.Sort(got); !slices.Equal(got, calls) {
			return fail(f7, "Event was served by %q instead of %q", got, calls)
		}
		return nil
	}); err != nil {
		return err
	}
	return nil
}

func (c *fleet) acks(ctx context.Context) error {
	asker := c.nodes[0]
	for _, t := range []selecting{
		allMembers(), to("red").except("blue"), to("empty"), allMembers().local(), to("blue").remote(),
	} {
		what := "BroadcastAck to " + describe(t)
		var stream ackStream
		acks, err := c.ns(0).BroadcastAckFunc(ctx, []byte(what), t.target(), longTimeout, stream.funcs())
		if acks == nil {
			return fail(f7, "%s returned no result: %v", what, err)
		}
		if t.localOnly {
			if err != nil {
				return fail(f7, "%s without a fault returned %v", what, err)
			}
		} else if err := c.whole(f7, what, asker, acks.Coverage, err); err != nil {
			return err
		}
		var got, want []string
		for _, v := range acks.Values {
			got = append(got, string(v))
		}
		for _, p := range c.people {
			n := 0
			if p.selected(asker, t) {
				n = 1
				want = append(want, "from "+p.id)
			}
			if p.count(what) != n {
				return fail(f7, "%s reached member %q of node %d %d times instead of %d", what, p.id, p.at.number, p.count(what), n)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || acks.Expected != len(want) {
			return fail(f7, "%s returned %q of %d instead of %q", what, got, acks.Expected, want)
		}
		if err := stream.matches(what, asker.node.ID(), acks, got); err != nil {
			return err
		}
	}
	return nil
}

// ackStream is what AckFuncs were called with.
type ackStream struct {
	sent     int
	expected map[string]int
	values   []string
	wrong    string // the first unexpected call
}

func (s *ackStream) funcs() backplane.AckFuncs {
	s.expected = map[string]int{}
	left := map[string]int{}
	return backplane.AckFuncs{
		Sent: func() { s.sent++ },
		Expected: func(node string, n int) {
			if _, again := s.expected[node]; again {
				s.wrong = cmp.Or(s.wrong, "a second number of "+node)
			}
			s.expected[node], left[node] = n, n
		},
		Value: func(node string, payload []byte) {
			s.values = append(s.values, string(payload))
			if left[node]--; left[node] < 0 {
				s.wrong = cmp.Or(s.wrong, "an acknowledgement of "+node+" before the number, or more than that")
			}
		},
	}
}

// matches says whether the calls brought what the call returned.
func (s *ackStream) matches(what, self string, acks *backplane.Acks, want []string) error {
	total, nodes := 0, []string{}
	for node, n := range s.expected {
		if total += n; node != self {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	slices.Sort(s.values)
	if s.wrong != "" || s.sent != 1 || total != acks.Expected || !slices.Equal(nodes, acks.Answered) || !slices.Equal(s.values, want) {
		return fail(f7, "%s returned %q of %v, and its functions were called with %q of %v, %d times for what was sent, %s",
			what, want, acks.Answered, s.values, s.expected, s.sent, s.wrong)
	}
	return nil
}
