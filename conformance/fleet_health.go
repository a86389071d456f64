package conformance

import (
	"context"
	"time"
)

var fleetHealthCases = []Case{
	{Name: "F23_Ready", Clauses: []Clause{f23}, run: caseReady},
	{Name: "F23_Cut", Clauses: []Clause{f23}, Needs: CanCut, Timing: true, run: func(ctx context.Context, e *env) error {
		return caseHealth(ctx, e, func(m *fleetNode) (begin, end func(context.Context) error) { return m.Cut, m.Heal })
	}},
	{Name: "F23_Frozen", Clauses: []Clause{f23}, Needs: CanFreeze, Timing: true, run: func(ctx context.Context, e *env) error {
		return caseHealth(ctx, e, func(m *fleetNode) (begin, end func(context.Context) error) { return m.Freeze, m.Thaw })
	}},
}

// becomesReady waits until a node with nothing wrong is ready, and checks its Health.
func (m *fleetNode) becomesReady(ctx context.Context) error {
	return eventually(ctx, func() error {
		if err := m.node.Ready(ctx); err != nil {
			return fail(f23, "Ready of a node with nothing wrong returned %v; Health: %+v", err, m.node.Health())
		}
		// On a slow machine a lease may elapse in between.
		if h := m.node.Health(); !h.Ready || !h.Subscribed.Up || !h.Publishing.Up || h.Subscribed.Since.IsZero() || h.Publishing.Since.IsZero() {
			return fail(f23, "Ready returned nil, and then Health was %+v", h)
		}
		return nil
	})
}

func caseReady(ctx context.Context, e *env) error {
	c, err := e.assemble(ctx, 1, fleetOptions{heartbeat: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, longTimeout/4)
	defer cancel()
	if err := c.nodes[0].becomesReady(short); err != nil {
		return err
	}
	if err := c.nodes[0].node.Close(ctx); err != nil {
		return fail(f23, "Close failed with nothing wrong: %v", err)
	}
	if h := c.nodes[0].node.Health(); h.Ready || h.Subscribed.Up || h.Publishing.Up {
		return fail(f23, "Health of a closed node is %+v", h)
	}
	return nil
}

// caseHealth begins a fault of a node's link, and ends it.
func caseHealth(ctx context.Context, e *env, fault func(*fleetNode) (begin, end func(context.Context) error)) error {
	return e.patiently(ctx, func(timeout time.Duration) error {
		c := &fleet{env: e, spaces: []string{"/health" + timeout.String()}, opts: fleetOptions{
			timeout: timeout, heartbeat: timeout / 4, peerTimeout: timeout,
		}}
		defer c.close(ctx)
		m, err := c.add(ctx)
		if err != nil {
			return err
		}
		if !m.Broker.Capabilities().Reconnects {
			return skip("the broker does not claim Reconnects")
		}
		if err := m.becomesReady(ctx); err != nil {
			return err
		}
		begin, end := fault(m)
		if err := begin(ctx); err != nil {
			return setup("beginning a fault", err)
		}
		began := time.Now()
		noticed := func() error {
			if h := m.node.Health(); h.Ready || h.Publishing.Up || h.Subscribed.Up || h.Queries.Up {
				return fail(f23, "%v after the fault began, its limit being %v, Health was %+v", time.Since(began), timeout, h)
			}
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, timeout)
		err = eventually(limited, noticed)
		cancel()
		if ended := end(ctx); ended != nil {
			return setup("ending a fault", ended)
		}
		if err != nil {
			return err
		}
		return m.becomesReady(ctx)
	})
}
