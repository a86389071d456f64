package conformance

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
)

var rightsCases = []Case{
	{Name: "B28_Withdrawn", Clauses: []Clause{28, 15}, Needs: CanDeny, Timing: true, run: caseWithdrawn},
	{Name: "B28_PublishingWithdrawn", Clauses: []Clause{28, 18}, Needs: CanDenyPublishing, Timing: true, run: casePublishingWithdrawn},
}

// caseWithdrawn takes from a node the right to subscribe, and gives it back, twice.
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
		if err := c.hear(ctx, 1); err != nil {
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
			return fail(17, "Flush of a node that may do everything returned %s", errText(err))
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
			return setup("giving a right back", err)
		}
		for _, s := range c.subs {
			if err := s.await(ctx, 28, func() bool { return s.rec.resumed >= round }, nil, func() (string, []any) {
				return "the right to subscribe is back and Resumed was not called (call %d)", []any{round}
			}); err != nil {
				return err
			}
		}
		if err := c.talk(ctx, 2); err != nil {
			return err
		}
		if err := c.hear(ctx, 28); err != nil {
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

// casePublishingWithdrawn takes from a node the right to publish, and gives it back.
func casePublishingWithdrawn(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	var told losses
	defer b.Broker.OnLoss(told.f)()
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
		return setup("giving a right back", err)
	}
	// A broker may have lost its connection by this, and be on its way back.
	if err := eventually(ctx, func() error {
		if err := st.publish(ctx); err != nil {
			return err
		}
		return b.Broker.Flush(ctx)
	}); err != nil {
		return fail(28, "the right to publish is back and Flush returned %s", errText(err))
	}
	if err := s.all(ctx, 28, st); err != nil {
		return err
	}
	stats := b.Broker.Stats()
	if missing := s.missing(st); missing > stats.Lost+stats.Uncertain {
		return fail(18, "%d messages did not arrive, and Stats knows of %d lost and %d uncertain", missing, stats.Lost, stats.Uncertain)
	}
	// The last loss may not have been told yet.
	err = eventually(ctx, func() error { return errors.Join(told.matches(b.Broker.Stats()), balanced(b.Broker.Stats())) })
	return err
}
