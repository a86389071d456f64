package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

var fleetIntroductionCases = []Case{
	{Name: "F17_AtOnce", Clauses: []Clause{f17, f1}, Timing: true, run: caseAtOnce},
	{Name: "F17_Together", Clauses: []Clause{f17}, Timing: true, run: caseTogether},
	{Name: "F18_Announcements", Clauses: []Clause{f18}, run: caseAnnouncements},
	{Name: "F19_MassStart", Clauses: []Clause{f19}, run: caseMassStart},
}

// honest checks that the immediate queries of a node have a response of each other node, or return an error that says
// otherwise.
//
// A node waits for introductions for a time. If goroutines were late, that was too short: then the nodes must do it as soon
// as they know each other.
func (c *fleet) honest(ctx context.Context, asker *fleetNode, ns *backplane.Namespace, l *lag) error {
	err := c.responds(ctx, asker, ns)
	if err == nil || !l.busy() {
		return err
	}
	if err := c.awaitPeers(ctx); err != nil {
		return err
	}
	return c.responds(ctx, asker, ns)
}

func (c *fleet) responds(ctx context.Context, asker *fleetNode, ns *backplane.Namespace) error {
	want := len(c.nodes) - 1
	check := func(what string, answered int, err error) error {
		if _, isPartial := partial(err); isPartial || answered == want && err == nil {
			return nil
		}
		return fail(f17, "%s of node %d, as soon as all nodes have %q, got %d of %d responses, and %s",
			what, asker.number, ns.Name(), answered, want, errText(err))
	}
	m, err := orEmpty(ns.Members(ctx, backplane.All()))
	if err := check("Members", len(m.Answered), err); err != nil {
		return err
	}
	r, err := orEmpty(ns.Request(ctx, []byte("who")))
	if err := check("Request", len(r.List), err); err != nil {
		return err
	}
	rooms, err := orEmpty(ns.AllRooms(ctx))
	if err := check("AllRooms", len(rooms.Answered), err); err != nil {
		return err
	}
	t, err := orEmpty(ns.JoinAll(ctx, backplane.All(), "joined"))
	if err := check("JoinAll", len(t.Answered), err); err != nil {
		return err
	}
	n, err := orEmpty(ns.Count(ctx, backplane.All()))
	if err := check("Count", len(n.Answered), err); err != nil {
		return err
	}
	p, err := orEmpty(ns.Peers(ctx))
	if count := (*backplane.OpError)(nil); !errors.As(err, &count) && p.Total() != want+1 {
		return fail(f17, "Peers of node %d, as soon as all nodes have %q, counted %d, %s instead of %d", asker.number, ns.Name(), p.Total(), errText(err), want+1)
	}
	return nil
}

// caseAtOnce adds nodes, opens namespaces on running nodes, and queries at once.
func caseAtOnce(ctx context.Context, e *env) error {
	l := watchLag(ctx)
	defer l.end()
	c, err := e.assemble(ctx, 1, fleetOptions{})
	if err != nil {
		return err
	}
	for i := 1; i < 6; i++ {
		m, err := c.add(ctx)
		if err != nil {
			return err
		}
		p, err := c.join(ctx, i, fmt.Sprint("member-", i))
		if err != nil {
			return err
		}
		for _, asker := range []*fleetNode{m, c.nodes[0]} {
			if err := c.honest(ctx, asker, asker.spaces[onlySpace], l); err != nil {
				return err
			}
		}
		err = c.ns(0).Join(ctx, p.id, "room")
		if _, isPartial := partial(err); err != nil && !isPartial {
			return fail(f17, "Join of a member of node %d, as soon as that had arrived, returned %v", i, err)
		}
	}
	for i := range 5 {
		name := fmt.Sprint("/later-", i)
		c.spaces = append(c.spaces, name)
		spaces := make([]*backplane.Namespace, len(c.nodes))
		for k, m := range c.nodes {
			if spaces[k], err = m.node.Namespace(ctx, name, c.hooks(m)); err != nil {
				return fail(f1, "Namespace failed without a fault: %v", err)
			}
		}
		for _, k := range []int{c.last(), 0, i} {
			if err := c.honest(ctx, c.nodes[k], spaces[k], l); err != nil {
				return err
			}
		}
	}
	return c.awaitPeers(ctx)
}

// caseTogether starts nodes at the same time.
func caseTogether(ctx context.Context, e *env) error {
	l := watchLag(ctx)
	defer l.end()
	c := &fleet{env: e, spaces: []string{onlySpace}}
	e.mu.Lock()
	e.last = append(e.last, c.close)
	e.mu.Unlock()
	const size = 4
	for i := range size {
		n, err := e.node(ctx)
		if err != nil {
			return err
		}
		m := &fleetNode{Node: n, number: i, spaces: map[string]*backplane.Namespace{}}
		if m.node, err = backplane.New(n.Broker, &backplane.Options{Name: fmt.Sprint("n", i), OnError: m.report, RequestsTimeout: longTimeout, PeerTimeout: longTimeout}); err != nil {
			return setup("making a node of a fleet", err)
		}
		c.nodes = append(c.nodes, m)
	}
	if err := inParallel(size, func(i int) error {
		ns, err := c.nodes[i].node.Namespace(ctx, onlySpace, c.hooks(c.nodes[i]))
		if err != nil {
			return fail(f1, "Namespace failed without a fault: %v", err)
		}
		c.nodes[i].spaces[onlySpace] = ns
		return nil
	}); err != nil {
		return err
	}
	return inParallel(size, func(i int) error { return c.honest(ctx, c.nodes[i], c.ns(i), l) })
}

// meter counts what nodes publish and receive on the control channels.
type meter struct{ bytes, delivered atomic.Int64 }

type metered struct {
	broker.Broker
	*meter
}

func (b *metered) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if ch.Kind() == broker.KindControl {
		b.bytes.Add(int64(len(payload)))
	}
	return b.Broker.Publish(ctx, ch, payload)
}

func (b *metered) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if len(filters) > 0 && filters[0].Channel().Kind() == broker.KindControl {
		r = &meteredReceiver{r, b.meter}
	}
	return b.Broker.Subscribe(ctx, r, filters...)
}

type meteredReceiver struct {
	broker.Receiver
	*meter
}

func (r *meteredReceiver) Deliver(ch broker.Channel, payload []byte) {
	r.delivered.Add(1)
	r.Receiver.Deliver(ch, payload)
}

// meteredFleet makes nodes without namespaces, whose announcements are counted.
func (e *env) meteredFleet(ctx context.Context, size int, heartbeat time.Duration) (*fleet, *meter, error) {
	c, m := &fleet{env: e}, new(meter)
	e.mu.Lock()
	e.last = append(e.last, c.close)
	e.mu.Unlock()
	for i := range size {
		n, err := e.node(ctx)
		if err != nil {
			return nil, nil, err
		}
		one := &fleetNode{Node: n, number: i, spaces: map[string]*backplane.Namespace{}}
		opts := &backplane.Options{Name: fmt.Sprint("n", i), OnError: one.report, RequestsTimeout: longTimeout, Heartbeat: heartbeat, PeerTimeout: 4 * max(heartbeat, longTimeout)}
		if one.node, err = backplane.New(&metered{n.Broker, m}, opts); err != nil {
			return nil, nil, setup("making a node of a fleet", err)
		}
		c.nodes = append(c.nodes, one)
	}
	return c, m, nil
}

// caseAnnouncements opens namespaces on two nodes and measures the announcements.
func caseAnnouncements(ctx context.Context, e *env) error {
	c, m, err := e.meteredFleet(ctx, 2, time.Second)
	if err != nil {
		return err
	}
	opened := 0
	for _, more := range []int{50, 100, 200} {
		before := m.bytes.Load()
		for range more {
			name := fmt.Sprintf("/space-%04d", opened)
			opened++
			c.spaces = append(c.spaces, name)
			for _, n := range c.nodes {
				if _, err := n.node.Namespace(ctx, name, nil); err != nil {
					return fail(f1, "Namespace failed without a fault: %v", err)
				}
			}
		}
		if err := c.awaitPeers(ctx); err != nil {
			return fail(f18, "two nodes did not learn each other's %d namespaces", opened)
		}
		// On a busy machine a node may have to request a whole list at times.
		const each, slack = 400, 64 << 10
		if took := m.bytes.Load() - before; took > int64(each*more+slack) {
			return fail(f18, "announcing %d more namespaces after %d took %d bytes", more, opened-more, took)
		}
	}
	late, err := e.node(ctx)
	if err != nil {
		return err
	}
	last := &fleetNode{Node: late, number: 2, spaces: map[string]*backplane.Namespace{}}
	if last.node, err = backplane.New(late.Broker, &backplane.Options{Name: "late", OnError: last.report}); err != nil {
		return setup("making a node of a fleet", err)
	}
	others := c.ids()
	c.nodes = append(c.nodes, last)
	if _, err := last.node.Namespace(ctx, "/late", nil); err != nil {
		return fail(f1, "Namespace failed without a fault: %v", err)
	}
	if err := eventually(ctx, func() error { return c.knows(last, others) }); err != nil {
		return fail(f18, "a late node did not learn the others' %d namespaces", opened)
	}
	return nil
}

// caseMassStart starts many nodes at once and measures the announcements.
func caseMassStart(ctx context.Context, e *env) error {
	const size = 16
	l := watchLag(ctx)
	defer l.end()
	c, m, err := e.meteredFleet(ctx, size, time.Minute)
	if err != nil {
		return err
	}
	c.spaces = []string{onlySpace}
	if err := inParallel(size, func(i int) error {
		ns, err := c.nodes[i].node.Namespace(ctx, onlySpace, nil)
		if err != nil {
			return fail(f1, "Namespace failed without a fault: %v", err)
		}
		c.nodes[i].spaces[onlySpace] = ns
		return nil
	}); err != nil {
		return err
	}
	if err := c.awaitPeers(ctx); err != nil {
		return err
	}
	limit := int64(8 * size * size)
	if l.busy() {
		limit *= 3 // nodes greet again if no response comes in time
	}
	if got := m.delivered.Load(); got > limit {
		return fail(f19, "the start of %d nodes took %d deliveries of announcements", size, got)
	}
	return nil
}
