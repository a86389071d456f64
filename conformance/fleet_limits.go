package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

var fleetLimitCases = []Case{
	{Name: "F13_Deadline", Clauses: []Clause{f13}, Timing: true, run: caseDeadline},
	{Name: "F15_Names", Clauses: []Clause{f15}, run: ofSize(2, caseFleetNames)},
	{Name: "F15_TooLarge", Clauses: []Clause{f15}, run: caseFleetTooLarge},
}

// slow is the node of caseDeadline that does not respond.
const slow = 3

// caseDeadline has one node that does not respond although its link works. Each request is of another node, because a
// node does not wait again for a peer that missed a deadline.
func caseDeadline(ctx context.Context, e *env) error {
	return e.patiently(ctx, func(timeout time.Duration) error {
		hold := make(chan struct{})
		c := &fleet{env: e, spaces: []string{"/deadline" + timeout.String()}, opts: fleetOptions{
			timeout: timeout, heartbeat: timeout / 4,
			request: func(_ context.Context, node int, _ string, p []byte) ([]byte, error) {
				if node == slow {
					<-hold
				}
				return p, nil
			},
		}}
		defer c.close(ctx)
		defer close(hold)
		for i := range 4 {
			if _, err := c.add(ctx); err != nil {
				return err
			}
			p := &fleetMember{id: fmt.Sprint("member-", i), noAck: i == slow}
			if err := c.enter(ctx, i, c.spaces[0], p); err != nil {
				return err
			}
		}
		if err := c.awaitPeers(ctx); err != nil {
			return err
		}

		if err := inParallel(3, func(i int) error {
			return []func(context.Context) error{c.unanswered, c.unacknowledged, c.cutShort}[i](ctx)
		}); err != nil {
			return err
		}
		dead, cancel := context.WithCancel(ctx)
		cancel()
		ns := c.ns(0)
		for name, err := range map[string]error{
			"Broadcast": ns.Broadcast(dead, nil, backplane.All()),
			"Members":   second(ns.Members(dead, backplane.All())),
			"RoomsOf":   second(ns.RoomsOf(dead, "unknown")),
			"Join":      ns.Join(dead, "unknown", "room"),
			"Request":   second(ns.Request(dead, nil)),
			"Count":     second(ns.Count(dead, backplane.All())),
			"Namespace": second(c.nodes[0].node.Namespace(dead, "/dead", nil)),
		} {
			if err != dead.Err() {
				return fail(f13, "%s with an ended context returned %s", name, errText(err))
			}
		}
		return nil
	})
}

// unanswered is a request to which one node does not respond.
func (c *fleet) unanswered(ctx context.Context) error {
	began := time.Now()
	r, err := orEmpty(c.ns(0).Request(ctx, []byte("who")))
	took := time.Since(began)
	p, ok := partial(err)
	if !ok || took > c.opts.timeout*3/2 || !errors.Is(err, context.DeadlineExceeded) ||
		!slices.Equal(r.Answered, c.ids(c.nodes[0], c.nodes[slow])) || len(p.Coverage.Missing) != 1 ||
		p.Coverage.Missing[0].Node != c.nodes[slow].node.ID() || !errors.Is(p.Coverage.Missing[0].Reason, backplane.ErrNoResponse) {
		return fail(f13, "with one unresponsive node, a request with a deadline of %v took %v and returned %s",
			c.opts.timeout, took, errText(err))
	}
	return nil
}

// unacknowledged is a broadcast that one member does not acknowledge, on a node that responds. The timeout is the
// call's own.
func (c *fleet) unacknowledged(ctx context.Context) error {
	timeout := c.opts.timeout / 2
	began := time.Now()
	a, err := orEmpty(c.ns(1).BroadcastAck(ctx, []byte("who"), backplane.All(), timeout))
	took := time.Since(began)
	if _, ok := partial(err); !ok || took > 2*timeout || !errors.Is(err, context.DeadlineExceeded) || len(a.Values) != 3 || a.Expected != 4 {
		return fail(f13, "with one of 4 members that does not acknowledge, BroadcastAck with a timeout of %v took %v and returned %d of %d, %s",
			timeout, took, len(a.Values), a.Expected, errText(err))
	}
	return nil
}

// cutShort is a request whose context ends before its deadline.
func (c *fleet) cutShort(ctx context.Context) error {
	timeout := c.opts.timeout / 4
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	_, err := c.ns(2).Request(short, []byte("who"))
	if took := time.Since(began); took > 4*timeout || !errors.Is(err, context.DeadlineExceeded) {
		return fail(f13, "a request whose context ended after %v took %v and returned %s", timeout, took, errText(err))
	}
	return nil
}

// caseFleetNames puts a member into a room of each name and broadcasts to it.
func caseFleetNames(ctx context.Context, c *fleet) error {
	names := slices.DeleteFunc(slices.Clone(hostileNames), func(name string) bool {
		return refuses(ctx, c.ns(0), name)
	})
	people := map[string]*fleetMember{}
	witness, err := c.join(ctx, 1, "a witness of all rooms")
	if err != nil {
		return err
	}
	for i, name := range names {
		p, err := c.join(ctx, 1, fmt.Sprint("member of room ", i))
		if err != nil {
			return err
		}
		people[name] = p
		for _, id := range []string{p.id, witness.id} {
			if err := c.ns(0).Join(ctx, id, name); err != nil {
				return fail(f15, "Join of a room called %.60q on another node returned %v", name, err)
			}
		}
	}
	for _, name := range names {
		for _, text := range []string{"to ", "after "} {
			if err := c.ns(0).Broadcast(ctx, []byte(text+name), backplane.To(name)); err != nil {
				return fail(f15, "Broadcast to a room called %.60q returned %v", name, err)
			}
		}
	}
	for _, name := range names {
		again := func() error { return c.ns(0).Broadcast(ctx, []byte("after "+name), backplane.To(name)) }
		if err := witness.receives(ctx, f15, "after "+name, again); err != nil {
			return err
		}
	}
	for name, p := range people {
		for _, other := range names {
			want := 0
			if other == name {
				want = 1
			}
			if n := p.count("to " + other); n != want {
				return fail(f15, "the message to room %.60q arrived %d times to the member of room %.60q", other, n, name)
			}
		}
	}
	rooms, err := c.ns(0).RoomsOf(ctx, witness.id)
	slices.Sort(rooms)
	if want := slices.Sorted(slices.Values(append(names, witness.id))); err != nil || !slices.Equal(rooms, want) {
		return fail(f15, "RoomsOf returned %.2000q, %s instead of %.2000q", rooms, errText(err), want)
	}
	// The names as ids.
	for _, name := range names {
		if name == "" {
			continue // not a valid id
		}
		if _, err := c.join(ctx, 1, name); err != nil {
			return err
		}
		if err := c.ns(0).Disconnect(ctx, name, false); err != nil {
			return fail(f15, "Disconnect of a member called %.60q on another node returned %v", name, err)
		}
	}
	// The names as namespaces.
	for _, name := range neighbours {
		var both [2]*backplane.Namespace
		refused := 0
		for i := range both {
			both[i], err = c.nodes[i].node.Namespace(ctx, name, c.hooks(c.nodes[i]))
			if isRefusal(err) {
				refused++
			} else if err != nil {
				return fail(f15, "Namespace(%q) returned %v", name, err)
			}
		}
		if refused == 2 {
			continue
		}
		if refused == 1 {
			return fail(f15, "a namespace called %q is refused on one node and not on the other", name)
		}
		if err := eventually(ctx, func() error {
			r, err := orEmpty(both[0].Request(ctx, []byte(name)))
			return c.whole(f15, fmt.Sprintf("Request in namespace %q", name), c.nodes[0], r.Coverage, err)
		}); err != nil {
			return err
		}
	}
	return nil
}

// refuses reports whether a broadcast to a room is refused for its name.
func refuses(ctx context.Context, ns *backplane.Namespace, room string) bool {
	return isRefusal(ns.Broadcast(ctx, nil, backplane.To(room)))
}

func caseFleetTooLarge(ctx context.Context, e *env) error {
	limit := e.first.Broker.Capabilities().MaxPayload
	switch {
	case limit == 0:
		return skip("the broker claims no MaxPayload")
	case limit > largest/8:
		return skip("MaxPayload is %d, too large to try", limit)
	}
	c, err := e.assemble(ctx, 3, fleetOptions{request: func(_ context.Context, node int, _ string, p []byte) ([]byte, error) {
		if node == 1 {
			return make([]byte, limit+1), nil
		}
		return p, nil
	}})
	if err != nil {
		return err
	}
	near, err := c.join(ctx, 0, "near")
	if err != nil {
		return err
	}
	far, err := c.join(ctx, 1, "far")
	if err != nil {
		return err
	}
	large := bytes.Repeat([]byte("x"), limit+1)
	if err := c.ns(0).Broadcast(ctx, large, backplane.All()); !isTooLarge(err) {
		return fail(f15, "a broadcast of %d bytes, with a limit of %d, returned %s", len(large), limit, errText(err))
	}
	if _, err := c.ns(0).Request(ctx, large); !isTooLarge(err) {
		return fail(f15, "a request of %d bytes, with a limit of %d, returned %s", len(large), limit, errText(err))
	}
	if near.count(string(large)) != 0 {
		return fail(f15, "a broadcast that was refused for its size had been delivered to a local member")
	}
	// With room for the encoding, the broadcast succeeds.
	large = large[:limit-min(limit/2, 1000)]
	if err := c.ns(0).Broadcast(ctx, large, backplane.All()); err != nil {
		return fail(f15, "a broadcast of %d bytes, with a limit of %d, returned %v", len(large), limit, err)
	}
	for _, p := range []*fleetMember{near, far} {
		if err := p.receives(ctx, f15, string(large), nil); err != nil {
			return err
		}
	}
	// The requester gets an error for a response that is too large, instead of waiting for it.
	r, err := orEmpty(c.ns(0).Request(ctx, []byte("big")))
	if err := c.whole(f15, "Request", c.nodes[0], r.Coverage, err); err != nil {
		return err
	}
	for _, reply := range r.List {
		if tooLarge := reply.Node == c.nodes[1].node.ID(); tooLarge != (reply.Err != "") {
			return fail(f15, "with one response too large for the broker, the response of node %s has %d bytes and the error %q",
				reply.Node, len(reply.Payload), reply.Err)
		}
	}
	for _, m := range c.nodes {
		for _, err := range m.reports() {
			if answer := (*backplane.OpError)(nil); m.number != 1 || !errors.As(err, &answer) || !isTooLarge(err) {
				return fail(f3, "OnError of node %d reported: %v", m.number, err)
			}
		}
	}
	return nil
}
