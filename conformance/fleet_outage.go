package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

var fleetOutageCases = []Case{
	{Name: "F10_Killed", Clauses: []Clause{f10}, Needs: CanKill, Timing: true, run: caseNodeKilled},
	{Name: "F11_Frozen", Clauses: []Clause{f11}, Needs: CanFreeze, Timing: true, run: caseNodeFrozen},
	{Name: "F12_Cut", Clauses: []Clause{f12}, Needs: CanCut, Timing: true, run: caseNodeCut},
}

// requestKind is one kind of request to a fleet, sent in a namespace of its own in which each node has one member.
type requestKind struct {
	name string
	// send returns the number of parts of the result. member is a member of the faulty node.
	send func(ctx context.Context, ns *backplane.Namespace, member string) (parts int, f backplane.Coverage, err error)
	// parts is how many parts the result should have if that many peers respond. Nil: only the member's own node
	// contributes.
	parts func(responses int) int
}

func withOwn(n int) int    { return n + 1 }
func withoutOwn(n int) int { return n }

var requestKinds = []requestKind{
	{"Members", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		m, err := orEmpty(ns.Members(ctx, backplane.All()))
		return len(m.List), m.Coverage, err
	}, withOwn},
	{"MembersDetail", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		m, err := orEmpty(ns.MembersDetail(ctx, backplane.To("room")))
		return len(m.List), m.Coverage, err
	}, withOwn},
	{"AllRooms", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		r, err := orEmpty(ns.AllRooms(ctx))
		return len(r.List) - 1, r.Coverage, err // one for each member, and the common one
	}, withOwn},
	{"JoinAll", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		t, err := orEmpty(ns.JoinAll(ctx, backplane.All(), "other"))
		return t.Total, t.Coverage, err
	}, withOwn},
	{"LeaveAll", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		t, err := orEmpty(ns.LeaveAll(ctx, backplane.To("room"), "other"))
		return t.Total, t.Coverage, err
	}, withOwn},
	{"DisconnectAll", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		t, err := orEmpty(ns.DisconnectAll(ctx, backplane.All(), false))
		return t.Total, t.Coverage, err
	}, withOwn},
	{"Request", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		r, err := orEmpty(ns.Request(ctx, []byte("who")))
		return len(r.List), r.Coverage, err
	}, withoutOwn},
	{"EventAck", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		r, err := orEmpty(ns.EventAck(ctx, []byte("who")))
		return len(r.List), r.Coverage, err
	}, withoutOwn},
	{"BroadcastAck", func(ctx context.Context, ns *backplane.Namespace, _ string) (int, backplane.Coverage, error) {
		a, err := orEmpty(ns.BroadcastAck(ctx, []byte("who"), backplane.All(), 0))
		return len(a.Values), a.Coverage, err
	}, withOwn},
	{"RoomsOf", func(ctx context.Context, ns *backplane.Namespace, member string) (int, backplane.Coverage, error) {
		_, err := ns.RoomsOf(ctx, member)
		return 0, backplane.Coverage{}, err
	}, nil},
	{"Join", func(ctx context.Context, ns *backplane.Namespace, member string) (int, backplane.Coverage, error) {
		return 0, backplane.Coverage{}, ns.Join(ctx, member, "other")
	}, nil},
	{"Leave", func(ctx context.Context, ns *backplane.Namespace, member string) (int, backplane.Coverage, error) {
		return 0, backplane.Coverage{}, ns.Leave(ctx, member, "other")
	}, nil},
	{"Disconnect", func(ctx context.Context, ns *backplane.Namespace, member string) (int, backplane.Coverage, error) {
		return 0, backplane.Coverage{}, ns.Disconnect(ctx, member, false)
	}, nil},
}

// gate is the observer of the faulty node. It blocks requests while they are being served, separately for each
// namespace.
type gate struct {
	observe.Nop
	mu      sync.Mutex
	shut    bool
	open    chan struct{}
	changed chan struct{}
	stopped map[string]bool
}

func newGate() *gate {
	return &gate{open: make(chan struct{}), changed: make(chan struct{}), stopped: map[string]bool{}}
}

// ServeStart implements observe.Observer.
func (g *gate) ServeStart(ctx context.Context, d *observe.Serve) context.Context {
	g.mu.Lock()
	if !g.shut {
		g.mu.Unlock()
		return ctx
	}
	g.stopped[d.Namespace] = true
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
	<-g.open
	return ctx
}

// ServeEnd implements observe.Observer.
func (g *gate) ServeEnd(context.Context, *observe.Serve) {}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

// letGo opens the gate for good; idempotent.
func (g *gate) letGo() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		g.shut = false
		close(g.open)
	}
}

// full waits until a request is blocked in each of n namespaces.
func (g *gate) full(ctx context.Context, n int) error {
	for {
		g.mu.Lock()
		got, changed := len(g.stopped), g.changed
		g.mu.Unlock()
		if got >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fail(f4, "only %d of %d requests reached a node without a fault", got, n)
		}
	}
}

// incident is a fleet of three in which a fault is about to happen to the last node, the victim, while requests of all
// kinds are in flight.
type incident struct {
	*fleet
	clause        Clause
	what          string
	timeout       time.Duration
	asker, victim *fleetNode
	gate          *gate
}

// idleSpace is a namespace without requests during the fault.
const idleSpace = "/calm"

func (e *env) blow(ctx context.Context, clause Clause, what string, timeout, peerTimeout time.Duration) (*incident, error) {
	b := &incident{clause: clause, what: what, timeout: timeout, gate: newGate()}
	spaces := []string{idleSpace + timeout.String()}
	for _, q := range requestKinds {
		spaces = append(spaces, "/"+q.name+timeout.String())
	}
	b.fleet = &fleet{env: e, spaces: spaces, opts: fleetOptions{
		timeout: timeout, heartbeat: timeout / 4, peerTimeout: peerTimeout,
		observer: func(i int) observe.Observer {
			if i == 2 {
				return b.gate
			}
			return nil
		},
	}}
	for range 3 {
		if _, err := b.add(ctx); err != nil {
			return b, err
		}
	}
	b.asker, b.victim = b.nodes[0], b.nodes[2]
	for i := range b.nodes {
		for _, space := range b.spaces {
			p := &fleetMember{id: fmt.Sprint("member-", i), rooms: []string{"room"}, stays: true}
			if err := b.enter(ctx, i, space, p); err != nil {
				return b, err
			}
		}
	}
	return b, b.awaitPeers(ctx)
}

// end opens the gate and closes the nodes.
func (b *incident) end(ctx context.Context) {
	b.gate.letGo()
	b.close(ctx)
}

// outcome is the result of a request.
type outcome struct {
	requestKind
	count int
	fleet backplane.Coverage
	err   error
	took  time.Duration
}

// requestAll sends all kinds of requests at the same time. during, if not nil, is called when each request has reached
// the victim, which has not responded yet.
func (b *incident) requestAll(ctx context.Context, during func() error) ([]outcome, error) {
	results := make([]outcome, len(requestKinds))
	var all sync.WaitGroup
	if during != nil {
		b.gate.close()
	}
	for i, q := range requestKinds {
		all.Go(func() {
			began := time.Now()
			r := outcome{requestKind: q}
			r.count, r.fleet, r.err = q.send(ctx, b.asker.spaces[b.spaces[i+1]], "member-2")
			if p, ok := partial(r.err); ok {
				r.fleet = p.Coverage
			}
			r.took = time.Since(began)
			results[i] = r
		})
	}
	var err error
	if during != nil {
		short, cancel := context.WithTimeout(ctx, b.timeout)
		if err = b.gate.full(short, len(requestKinds)); err == nil {
			err = during()
		}
		cancel()
	}
	all.Wait()
	return results, err
}

// check compares the results: each must have the responses of the other nodes and name the victim.
func (b *incident) check(results []outcome, round string, limit time.Duration) error {
	healthy := b.ids(b.asker, b.victim)
	for _, r := range results {
		b.env.logf("%s, %s: %-13s responses of %d of 2, missing %s, after %v", b.what, round, r.name, len(r.fleet.Answered),
			missing(r.fleet), r.took.Round(time.Millisecond))
	}
	for _, r := range results {
		if _, ok := partial(r.err); !ok {
			return fail(b.clause, "%s, %s: %s returned %s instead of a *PartialError", b.what, round, r.name, errText(r.err))
		}
		if !slices.Equal(r.fleet.Answered, healthy) || len(r.fleet.Missing) != 1 || r.fleet.Missing[0].Node != b.victim.node.ID() {
			return fail(b.clause, "%s, %s: %s got the responses of %v, missing %s; want %v, missing %s",
				b.what, round, r.name, r.fleet.Answered, missing(r.fleet), healthy, b.victim.node.ID())
		}
		if r.parts != nil && r.count != r.parts(len(healthy)) {
			return fail(b.clause, "%s, %s: %s has %d parts instead of %d", b.what, round, r.name, r.count, r.parts(len(healthy)))
		}
		if r.took > limit {
			return fail(b.clause, "%s, %s: %s took %v, with a deadline of %v; want at most %v", b.what, round, r.name, r.took, b.timeout, limit)
		}
	}
	return nil
}

// strike causes the fault in the middle of all requests, and sends them a second time afterwards.
func (b *incident) strike(ctx context.Context, do func(context.Context) error, limit time.Duration) error {
	results, err := b.requestAll(ctx, func() error {
		if err := do(ctx); err != nil {
			return setup(b.what+" a node", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.check(results, "first request", limit); err != nil {
		return err
	}
	if results, err = b.requestAll(ctx, nil); err != nil {
		return err
	}
	return b.check(results, "second request", b.timeout/2)
}

// again waits until all nodes respond to everything, or all except the victim.
func (b *incident) again(ctx context.Context, without bool) error {
	want := b.ids(b.asker)
	if without {
		want = b.ids(b.asker, b.victim)
	}
	began := time.Now()
	defer func() { b.env.logf("%s: whole again after %v", b.what, time.Since(began).Round(time.Millisecond)) }()
	return eventually(ctx, func() error {
		results, err := b.requestAll(ctx, nil)
		for _, r := range results {
			ok := r.err == nil && (r.parts == nil || slices.Equal(r.fleet.Answered, want) && r.count == r.parts(len(want)))
			if without && r.parts == nil {
				ok = errors.Is(r.err, backplane.ErrNoSuchMember)
			}
			if !ok {
				return fail(b.clause, "%s: afterwards %s got the responses of %v, missing %s, and returned %s; want %v",
					b.what, r.name, r.fleet.Answered, missing(r.fleet), errText(r.err), want)
			}
		}
		return err
	})
}

// deadline is the limit for a request that times out.
func (b *incident) deadline() time.Duration { return b.timeout * 3 / 2 }

func caseNodeKilled(ctx context.Context, e *env) error {
	return e.patiently(ctx, func(timeout time.Duration) error {
		b, err := e.blow(ctx, f10, "killed", timeout, 2*timeout)
		defer b.end(ctx)
		if err != nil {
			return err
		}
		limit := b.deadline()
		if b.asker.Broker.Capabilities().CountsSubscribers {
			limit = timeout * 9 / 10
		}
		b.victim.killed = true
		if err := b.strike(ctx, b.victim.Kill, limit); err != nil {
			return err
		}
		return b.again(ctx, true)
	})
}

func caseNodeFrozen(ctx context.Context, e *env) error {
	return e.patiently(ctx, func(timeout time.Duration) error {
		b, err := e.blow(ctx, f11, "frozen", timeout, longTimeout)
		defer b.end(ctx)
		if err != nil {
			return err
		}
		err = b.strike(ctx, b.victim.Freeze, b.deadline())
		if thawed := b.victim.Thaw(ctx); thawed != nil {
			return setup("thawing a node", thawed)
		}
		b.gate.letGo()
		if err != nil {
			return err
		}
		return b.again(ctx, false)
	})
}

func caseNodeCut(ctx context.Context, e *env) error {
	return e.patiently(ctx, func(timeout time.Duration) error {
		b, err := e.blow(ctx, f12, "cut", timeout, longTimeout)
		defer b.end(ctx)
		if err != nil {
			return err
		}
		if !b.victim.Broker.Capabilities().Reconnects {
			return skip("the broker does not claim Reconnects")
		}
		err = b.strike(ctx, b.victim.Cut, b.deadline())
		if err == nil {
			err = b.alone(ctx)
		}
		if healed := b.victim.Heal(ctx); healed != nil {
			return setup("healing a link", healed)
		}
		b.gate.letGo()
		if err != nil {
			return err
		}
		if err := b.again(ctx, false); err != nil {
			return err
		}
		return b.together(ctx)
	})
}

// alone checks the node that is cut off.
func (b *incident) alone(ctx context.Context) error {
	ns := b.victim.spaces[b.spaces[0]]
	if err := ns.Broadcast(ctx, []byte("to my own"), backplane.All()); err != nil {
		return fail(f12, "Broadcast on a node whose link is cut returned %v", err)
	}
	for _, p := range b.people {
		if p.ns == ns && p.count("to my own") != 1 {
			return fail(f12, "a broadcast on a node whose link is cut reached its own member %d times before Broadcast returned", p.count("to my own"))
		}
	}
	began := time.Now()
	_, err := ns.Members(ctx, backplane.All())
	if _, ok := partial(err); !ok {
		return fail(f12, "a request of a node whose link is cut returned %s instead of a *PartialError", errText(err))
	}
	if took := time.Since(began); took > b.deadline() {
		return fail(f12, "a request of a node whose link is cut took %v, its deadline being %v", took, b.timeout)
	}
	return nil
}

// together checks that all nodes receive each other's messages, and that the outage was reported.
func (b *incident) together(ctx context.Context) error {
	for _, from := range b.nodes {
		text := fmt.Sprint("together again, from ", from.number)
		say := func() error { return from.spaces[b.spaces[0]].Broadcast(ctx, []byte(text), backplane.To("room")) }
		if err := say(); err != nil {
			return fail(f12, "Broadcast after an outage returned %v", err)
		}
		for _, p := range b.people {
			if p.ns == p.at.spaces[b.spaces[0]] {
				if err := p.receives(ctx, f12, text, say); err != nil {
					return err
				}
			}
		}
	}
	return eventually(ctx, func() error {
		reported := map[string]bool{}
		for _, err := range b.victim.reports() {
			if outage := (*backplane.InterruptedError)(nil); errors.As(err, &outage) {
				reported[outage.Namespace] = true
			}
		}
		for _, space := range append([]string{""}, b.spaces...) {
			if !reported[space] {
				return fail(f12, "OnError did not report the outage in namespace %q (empty: the control channel): %v", space, b.victim.reports())
			}
		}
		return nil
	})
}
