package conformance

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/crossroom/crossroom/broker"
)

var rightsCases = []Case{
	{Name: "B28_Withdrawn", Clauses: []Clause{28, 15}, Needs: CanDeny, Timing: true, run: caseWithdrawn},
	{Name: "B28_PublishingWithdrawn", Clauses: []Clause{28, 18}, Needs: CanDenyPublishing, Timing: true, run: casePublishingWithdrawn},
	{Name: "B30_MayNotCount", Clauses: []Clause{30, 22, 23}, Needs: CanDenyCounting, Timing: true, run: caseMayNotCount},
	{Name: "B30_CutOff", Clauses: []Clause{30, 22, 23}, Needs: CanCut, Timing: true, run: caseCutOff},
}

// caseWithdrawn withdraws a node's right to subscribe, and restores it, twice.
func caseWithdrawn(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	c, err := e.crowd(ctx, b, a)
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
		if err := b.Deny(ctx); err != nil {
			return setup("withdrawing a right", err)
		}
		for _, s := range c.subs {
			if err := s.await(ctx, 28, func() bool { return len(s.rec.interruption) >= round }, nil, func() (string, []any) {
				return "the right to subscribe was withdrawn and Interrupted was not called (call %d)", []any{round}
			}); err != nil {
				return err
			}
			if err := s.interruptedBy(b.Refused); err != nil {
				return err
			}
		}
		if err := c.talk(ctx, 2); err != nil { // missed
			return err
		}
		if err := a.Broker.Flush(ctx); err != nil {
			return fail(17, "Flush of a node with all rights returned %s", errText(err))
		}
		for _, s := range c.subs {
			s.rec.mu.Lock()
			n := s.rec.resumed
			s.rec.mu.Unlock()
			if n >= round {
				return fail(28, "Resumed was called while the right to subscribe was withdrawn")
			}
		}
		if err := b.Allow(ctx); err != nil {
			return setup("restoring a right", err)
		}
		for _, s := range c.subs {
			if err := s.await(ctx, 28, func() bool { return s.rec.resumed >= round }, nil, func() (string, []any) {
				return "the right to subscribe was restored and Resumed was not called (call %d)", []any{round}
			}); err != nil {
				return err
			}
		}
		if err := c.talk(ctx, 2); err != nil {
			return err
		}
		if err := c.receiveAll(ctx, 28); err != nil {
			return err
		}
	}
	return nil
}

// interruptedBy checks that the last Interrupted had the system's reason.
func (s *sub) interruptedBy(refused func(error) bool) error {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	if last := s.rec.interruption[len(s.rec.interruption)-1]; !refused(last) {
		return fail(28, "Interrupted(%v) does not have the system's reason", last)
	}
	return nil
}

// casePublishingWithdrawn withdraws a node's right to publish, and restores it.
func casePublishingWithdrawn(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	var reported losses
	defer b.Broker.OnLoss(reported.f)()
	ch := native.Room("/rights", "r")
	s, err := e.subscribe(ctx, a, broker.Exactly(ch))
	if err != nil {
		return err
	}
	st := e.from(b, ch)
	publish := func(n int) error {
		for range n {
			if err := st.publish(ctx); err != nil {
				return fail(16, "Publish failed: %v", err)
			}
		}
		return nil
	}
	if err := publish(10); err != nil {
		return err
	}
	if err := b.Broker.Flush(ctx); err != nil {
		return fail(17, "Flush returned %s", errText(err))
	}
	if err := s.all(ctx, 1, st); err != nil {
		return err
	}
	st.lossy.Store(true)
	if err := b.DenyPublishing(ctx); err != nil {
		return setup("withdrawing a right", err)
	}
	const n = 20
	if err := publish(n); err != nil {
		return err
	}
	switch loss, ok := asLoss(b.Broker.Flush(ctx)); {
	case !ok:
		return fail(28, "the right to publish was withdrawn and Flush did not return a *LossError")
	case loss.Messages != n || !b.Refused(loss):
		return fail(28, "Flush returned %s, want %d messages lost for the system's reason", errText(loss), n)
	}
	if err := b.Allow(ctx); err != nil {
		return setup("restoring a right", err)
	}
	// The withdrawal may have broken the broker's connection, and the broker may still be reconnecting.
	if err := eventually(ctx, func() error {
		if err := st.publish(ctx); err != nil {
			return err
		}
		return b.Broker.Flush(ctx)
	}); err != nil {
		return fail(28, "the right to publish was restored and Flush returned %s", errText(err))
	}
	if err := s.all(ctx, 28, st); err != nil {
		return err
	}
	stats := b.Broker.Stats()
	if missing := s.missing(st); missing > stats.Lost+stats.Uncertain {
		return fail(18, "%d messages did not arrive, and Stats counts %d lost and %d uncertain", missing, stats.Lost, stats.Uncertain)
	}
	// The last loss may not have been reported yet.
	err = eventually(ctx, func() error { return errors.Join(reported.matches(b.Broker.Stats()), balanced(b.Broker.Stats())) })
	return err
}

// caseMayNotCount withdraws a node's right to count, and restores it, twice.
func caseMayNotCount(ctx context.Context, e *env) error {
	a, err := e.counting(ctx)
	if err != nil {
		return err
	}
	b, err := e.node(ctx)
	if err != nil {
		return err
	}
	held, s, err := e.countable(ctx, a, b)
	if err != nil {
		return err
	}
	for range 2 {
		if err := e.count(ctx, a, 30, 1, held...); err != nil {
			return err
		}
		if err := a.DenyCounting(ctx); err != nil {
			return setup("withdrawing the right to count", err)
		}
		counts, err := a.Broker.Subscribers(ctx, held...)
		if err := a.inexact("Subscribers", err, true); err != nil {
			return err
		}
		for i, n := range counts {
			if len(counts) != len(held) || n > 1 {
				return fail(30, "Subscribers returned %d of %s, where a lower bound of 1 was expected", counts[i], clip(held[i]))
			}
		}
		ids, err := a.Broker.Responders(ctx, native, "/inexact")
		if err := a.inexact("Responders", err, a.Broker.Capabilities().ListsResponders); err != nil {
			return err
		}
		for _, id := range ids {
			if id != "b" {
				return fail(30, "Responders lists %.100q, which does not exist", id)
			}
		}
		if err := e.count(ctx, b, 30, 1, held...); err != nil { // no other node is affected
			return err
		}
		if err := e.one(ctx, s, a, held[0]); err != nil { // nor is any other call
			return err
		}
		if err := a.Allow(ctx); err != nil {
			return setup("restoring a right", err)
		}
		if err := e.countSoon(ctx, a, 1, held...); err != nil {
			return err
		}
	}
	return nil
}

// countable subscribes b to two channels, and returns them.
func (e *env) countable(ctx context.Context, a, b *Node) (held []broker.Channel, s *sub, err error) {
	held = []broker.Channel{native.Requests("/inexact"), native.NodeResponses("/inexact", "b")}
	s, err = e.subscribe(ctx, b, broker.Exactly(held[0]), broker.Exactly(held[1]))
	return held, s, err
}

// inexact checks the error of a node that may not count. supported: the broker can count otherwise.
func (n *Node) inexact(what string, err error, supported bool) error {
	var inexact *broker.InexactError
	switch {
	case !supported && errors.Is(err, errors.ErrUnsupported):
		return nil
	case !errors.As(err, &inexact):
		return fail(30, "%s of a node without the right to count returned %s, want an *InexactError", what, errText(err))
	case !n.Refused(err):
		return fail(30, "%s of a node without the right to count returned %s, which is not the system's reason", what, errText(err))
	}
	return nil
}

// caseCutOff counts while the counting node's link is down. The call returns the true number or an error, but no other
// number.
func caseCutOff(ctx context.Context, e *env) error {
	a, err := e.counting(ctx)
	if err != nil {
		return err
	}
	b, err := e.node(ctx)
	if err != nil {
		return err
	}
	held, _, err := e.countable(ctx, a, b)
	if err != nil {
		return err
	}
	if err := e.count(ctx, a, 30, 1, held...); err != nil {
		return err
	}
	if err := a.Cut(ctx); err != nil {
		return setup("cutting a link", err)
	}
	brief, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	counts, err := a.Broker.Subscribers(brief, held...)
	if err == nil && !slices.Equal(counts, []int{1, 1}) {
		return fail(30, "Subscribers of a node that is cut off returned %v without an error, instead of [1 1]", counts)
	}
	ids, err := a.Broker.Responders(brief, native, "/inexact")
	if err == nil && !slices.Equal(ids, []string{"b"}) {
		return fail(30, "Responders of a node that is cut off returned %q without an error, instead of [b]", ids)
	}
	if err := a.Heal(ctx); err != nil {
		return setup("healing a node", err)
	}
	return e.countSoon(ctx, a, 1, held...)
}
