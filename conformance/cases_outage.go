package conformance

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/broker"
)

var outageCases = []Case{
	{Name: "B03_OnceAcrossOutage", Clauses: []Clause{3, 18}, Needs: CanCut, Timing: true, run: caseOnceAcross},
	{Name: "B14_Outage", Clauses: []Clause{14, 15}, Needs: CanCut, Timing: true, run: caseOutage},
	{Name: "B14_HalfOpen", Clauses: []Clause{14, 15}, Needs: CanHalfOpen, Timing: true, run: caseHalfOpen},
	{Name: "B15_Restart", Clauses: []Clause{15, 14}, Needs: CanRestart, Timing: true, run: caseRestart},
	{Name: "B29_Superseded", Clauses: []Clause{29, 14, 15}, Needs: CanSupersede, Timing: true, run: caseSuperseded},
}

// cut cuts a node's link and waits for call nth of Interrupted on its subscription s.
func (e *env) cut(ctx context.Context, n *Node, s *sub, nth int) error {
	if !n.Broker.Capabilities().Reconnects {
		return skip("the broker does not claim Reconnects")
	}
	if err := n.Cut(ctx); err != nil {
		return setup("cutting a link", err)
	}
	return s.down(ctx, nth)
}

func (e *env) heal(ctx context.Context, n *Node, s *sub, nth int) error {
	if err := n.Heal(ctx); err != nil {
		return setup("healing a link", err)
	}
	return s.up(ctx, nth)
}

// flushed waits for Flush, which may report a loss.
func flushed(ctx context.Context, n *Node) error {
	if err := n.Broker.Flush(ctx); err != nil {
		if _, ok := asLoss(err); !ok {
			return fail(17, "Flush returned %s", errText(err))
		}
	}
	return nil
}

// crowd is a set of subscriptions of all kinds on one node, with a stream from another node for each.
type crowd struct {
	subs    []*sub
	streams [][]*stream // of each subscription
}

func (e *env) crowd(ctx context.Context, on, from *Node) (*crowd, error) {
	sets := [][]broker.Filter{
		{native.EveryRoom("/crowd"), broker.Exactly(native.Requests("/crowd"))},
		{broker.Exactly(socketIO.NodeResponses("/crowd", "me")), broker.Exactly(broker.Control())},
		nil,
	}
	for i := range 50 {
		sets[2] = append(sets[2], broker.Exactly(native.Room("/rooms", fmt.Sprint(i))))
	}
	c := &crowd{}
	for _, filters := range sets {
		s, err := e.subscribe(ctx, on, filters...)
		if err != nil {
			return nil, err
		}
		var streams []*stream
		for _, f := range filters {
			streams = append(streams, e.from(from, f.Channel()))
		}
		c.subs = append(c.subs, s)
		c.streams = append(c.streams, streams)
	}
	return c, nil
}

// talk publishes on every stream.
func (c *crowd) talk(ctx context.Context, n int) error {
	for _, streams := range c.streams {
		for _, st := range streams {
			for range n {
				if err := st.publish(ctx); err != nil {
					return fail(16, "Publish on %v failed: %v", st.ch, err)
				}
			}
		}
	}
	return nil
}

// receiveAll expects the arrival of everything published.
func (c *crowd) receiveAll(ctx context.Context, clause Clause) error {
	for i, s := range c.subs {
		if err := s.all(ctx, clause, c.streams[i]...); err != nil {
			return err
		}
	}
	return nil
}

// outage takes away one node's link and restores it, several times, while another node keeps publishing.
func (e *env) outage(ctx context.Context, rounds int, down func(*Node) error, up func(*Node) error) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if !b.Broker.Capabilities().Reconnects {
		return skip("the broker does not claim Reconnects")
	}
	c, err := e.crowd(ctx, b, a)
	if err != nil {
		return err
	}
	for round := 1; round <= rounds; round++ {
		if err := c.talk(ctx, 2); err != nil {
			return err
		}
		if err := c.receiveAll(ctx, 1); err != nil {
			return err
		}
		if err := down(b); err != nil {
			return setup("taking away the link", err)
		}
		for _, s := range c.subs {
			if err := s.down(ctx, round); err != nil {
				return err
			}
		}
		if err := c.talk(ctx, 2); err != nil { // possibly missed
			return err
		}
		for _, s := range c.subs {
			s.rec.mu.Lock()
			n := s.rec.resumed
			s.rec.mu.Unlock()
			if n >= round {
				return fail(15, "Resumed was called while the link was still cut")
			}
		}
		if err := up(b); err != nil {
			return setup("restoring the link", err)
		}
		for _, s := range c.subs {
			if err := s.up(ctx, round); err != nil {
				return err
			}
		}
		if err := c.talk(ctx, 2); err != nil {
			return err
		}
		if err := c.receiveAll(ctx, 15); err != nil {
			return err
		}
		for _, s := range c.subs {
			s.rec.mu.Lock()
			n := len(s.rec.interruption)
			s.rec.mu.Unlock()
			if n != round {
				return fail(14, "Interrupted was called %d times in %d outages", n, round)
			}
		}
	}
	return nil
}

func caseOutage(ctx context.Context, e *env) error {
	return e.outage(ctx, 3,
		func(n *Node) error { return n.Cut(ctx) },
		func(n *Node) error { return n.Heal(ctx) })
}

func caseHalfOpen(ctx context.Context, e *env) error {
	return e.outage(ctx, 1,
		func(n *Node) error { return n.HalfOpen(ctx) },
		func(n *Node) error { return n.Heal(ctx) })
}

func caseRestart(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if !b.Broker.Capabilities().Reconnects {
		return skip("the broker does not claim Reconnects")
	}
	c, err := e.crowd(ctx, b, a)
	if err != nil {
		return err
	}
	near, err := e.subscribe(ctx, a, native.EveryRoom("/crowd"))
	if err != nil {
		return err
	}
	for round := 1; round <= 2; round++ {
		if err := c.talk(ctx, 2); err != nil {
			return err
		}
		if err := c.receiveAll(ctx, 1); err != nil {
			return err
		}
		if err := e.sys.Restart(ctx); err != nil {
			return setup("restarting the server", err)
		}
		for _, s := range append([]*sub{near}, c.subs...) {
			if err := s.down(ctx, round); err != nil {
				return err
			}
			if err := s.up(ctx, round); err != nil {
				return err
			}
		}
		// The publisher may lose messages that were in flight to the old server. After a Flush it has reached the new
		// one.
		if err := eventually(ctx, func() error { return a.Broker.Flush(ctx) }); err != nil {
			return fail(17, "Flush after a restart of the server returned %s", errText(err))
		}
		if err := c.talk(ctx, 2); err != nil {
			return err
		}
		if err := c.receiveAll(ctx, 15); err != nil {
			return err
		}
	}
	return nil
}

// caseSuperseded makes another server take the place of the one that the nodes are connected to.
func caseSuperseded(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	c, err := e.crowd(ctx, b, a)
	if err != nil {
		return err
	}
	counted := native.Requests("/crowd")
	near, err := e.subscribe(ctx, a, broker.Exactly(counted))
	if err != nil {
		return err
	}
	elsewhere := native.Room("/elsewhere", "r")
	far, err := e.subscribe(ctx, b, broker.Exactly(elsewhere))
	if err != nil {
		return err
	}
	if err := c.talk(ctx, 2); err != nil {
		return err
	}
	if err := c.receiveAll(ctx, 1); err != nil {
		return err
	}
	if err := e.sys.Supersede(ctx); err != nil {
		return setup("superseding the server", err)
	}
	for _, s := range append([]*sub{near, far}, c.subs...) {
		if err := s.await(ctx, 29, func() bool { return len(s.rec.interruption) > 0 }, nil, func() (string, []any) {
			return "the server was superseded and Interrupted was not called", nil
		}); err != nil {
			return err
		}
		if err := s.await(ctx, 29, func() bool { return s.rec.resumed > 0 }, nil, func() (string, []any) {
			return "another server has taken the place of the first and Resumed was not called", nil
		}); err != nil {
			return err
		}
	}
	// The publisher may notice later than the subscribers. Until then the old server accepts its messages, which are
	// lost.
	st := e.from(a, elsewhere)
	st.lossy.Store(true)
	if err := eventually(ctx, func() error {
		if err := st.must(ctx, 1); err != nil {
			return err
		}
		far.rec.mu.Lock()
		defer far.rec.mu.Unlock()
		if far.rec.track(st.id).n == 0 {
			return errors.New("no message arrives")
		}
		return nil
	}); err != nil {
		return fail(29, "publishing after the server was superseded: %s", errText(err))
	}
	if err := c.talk(ctx, 2); err != nil {
		return err
	}
	if err := c.receiveAll(ctx, 29); err != nil {
		return err
	}
	if !b.Broker.Capabilities().CountsSubscribers {
		return nil
	}
	for _, n := range []*Node{a, b} {
		if err := eventually(ctx, func() error {
			counts, err := n.Broker.Subscribers(ctx, counted)
			if err == nil && counts[0] != 2 {
				err = fail(29, "Subscribers counts %d after the server was superseded, want 2", counts[0])
			}
			return err
		}); err != nil {
			return fail(29, "Subscribers after the server was superseded: %s", errText(err))
		}
	}
	return nil
}

// caseOnceAcross publishes from a node whose link is cut in the middle. The recorders report duplicates.
func caseOnceAcross(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/across", "r")
	near, err := e.subscribe(ctx, a, broker.Exactly(ch), native.EveryRoom("/across"))
	if err != nil {
		return err
	}
	far, err := e.subscribe(ctx, b, native.EveryRoom("/across"))
	if err != nil {
		return err
	}
	st := e.from(a, ch)
	st.lossy.Store(true)
	publish := func(n int) error {
		for range n {
			if err := st.publish(ctx); err != nil {
				return fail(16, "Publish failed because the link was cut: %v", err)
			}
		}
		return nil
	}
	for round := 1; round <= 3; round++ {
		if err := publish(200); err != nil { // some of these are in flight
			return err
		}
		if err := e.cut(ctx, a, near, round); err != nil {
			return err
		}
		if err := publish(50); err != nil {
			return err
		}
		if err := e.heal(ctx, a, near, round); err != nil {
			return err
		}
		if err := flushed(ctx, a); err != nil {
			return err
		}
		if err := publish(1); err != nil {
			return err
		}
		for _, s := range []*sub{near, far} {
			if err := s.all(ctx, 18, st); err != nil {
				return err
			}
		}
	}
	// No loss is silent: each message that did not arrive was counted.
	stats := a.Broker.Stats()
	missing := far.missing(st)
	if missing > stats.Lost+stats.Uncertain {
		return fail(18, "%d of %d messages did not arrive, and Stats counts %d lost and %d uncertain",
			missing, far.last(st), stats.Lost, stats.Uncertain)
	}
	return nil
}
