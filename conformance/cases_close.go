package conformance

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
)

var closeCases = []Case{
	{Name: "B21_HandsOver", Clauses: []Clause{21}, Timing: true, run: caseHandsOver},
	{Name: "B21_Stops", Clauses: []Clause{21, 11}, Timing: true, run: caseStops},
	{Name: "B21_After", Clauses: []Clause{21}, run: caseAfter},
	{Name: "B21_RunningReceiver", Clauses: []Clause{21, 20}, Timing: true, run: caseRunningReceiver},
	{Name: "B21_Goroutines", Clauses: []Clause{21}, Timing: true, run: caseGoroutines},
	{Name: "B21_CloseWhileCut", Clauses: []Clause{21, 20}, Needs: CanCut, Timing: true, run: caseCloseCut},
}

func caseHandsOver(ctx context.Context, e *env) error {
	b, err := e.node(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/close", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	for range 5 {
		a, err := e.node(ctx)
		if err != nil {
			return err
		}
		st := e.from(a, ch)
		if err := st.must(ctx, 400); err != nil {
			return err
		}
		if err := a.Broker.Close(ctx); err != nil {
			return fail(21, "Close without a fault returned %s", errText(err))
		}
		if stats := a.Broker.Stats(); stats.Sent != 400 || stats.QueuedMessages != 0 {
			return fail(21, "Close returned nil, and of 400 messages Stats says %d sent and %d queued", stats.Sent, stats.QueuedMessages)
		}
		if err := s.await(ctx, 21, func() bool { return s.rec.track(st.id).n == 400 }, nil, func() (string, []any) {
			return "Close returned nil, and only %d of 400 messages arrived", []any{s.count(st)}
		}); err != nil {
			return err
		}
	}
	return nil
}

// caseStops closes a broker while it receives messages.
func caseStops(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/stops", "r")
	stay, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	st := e.from(a, ch)
	stop := load(ctx, []*stream{st}, stay)
	for range 10 {
		if err = func() error {
			n, err := e.node(ctx)
			if err != nil {
				return err
			}
			var subs []*sub
			for _, f := range []broker.Filter{broker.Exactly(ch), native.EveryRoom("/stops")} {
				s, err := e.subscribe(ctx, n, f)
				if err != nil {
					return err
				}
				if err := s.await(ctx, 1, func() bool { return s.rec.track(st.id).n > 0 }, nil, func() (string, []any) {
					return "nothing arrived on %v after Subscribe", []any{f}
				}); err != nil {
					return err
				}
				s.leaving(s.filters())
				s.rec.blameLate(21)
				subs = append(subs, s)
			}
			if err := n.Broker.Close(ctx); err != nil {
				return fail(21, "Close without a fault returned %s", errText(err))
			}
			for _, s := range subs {
				s.forbid(s.filters())
			}
			return nil
		}(); err != nil {
			break
		}
	}
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	return stay.all(ctx, 1, st)
}

func caseAfter(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/after", "r")
	open, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	s, err := e.subscribe(ctx, a, broker.Exactly(ch))
	if err != nil {
		return err
	}
	s.leaving(s.filters())
	if err := inParallel(4, func(int) error {
		if err := a.Broker.Close(ctx); err != nil {
			return fail(21, "Close without a fault returned %s", errText(err))
		}
		return nil
	}); err != nil {
		return err
	}
	if err := a.Broker.Close(ctx); err != nil {
		return fail(21, "a second Close returned %s", errText(err))
	}
	for _, c := range []struct {
		name string
		err  error
	}{
		{"Publish", a.Broker.Publish(ctx, ch, []byte("too late"))},
		{"Flush", a.Broker.Flush(ctx)},
		{"Subscribe", second(a.Broker.Subscribe(ctx, ignore{}, broker.Exactly(ch)))},
		{"Add", s.Add(ctx, broker.Exactly(native.Room("/after", "2")))},
	} {
		if !errors.Is(c.err, broker.ErrClosed) {
			return fail(21, "%s after Close returned %s", c.name, errText(c.err))
		}
	}
	if a.Broker.Capabilities().CountsSubscribers {
		if _, err := a.Broker.Subscribers(ctx, ch); !errors.Is(err, broker.ErrClosed) {
			return fail(21, "Subscribers after Close returned %s", errText(err))
		}
	}
	if a.Broker.Capabilities().ListsResponders {
		if _, err := a.Broker.Responders(ctx, broker.Native, "/after"); !errors.Is(err, broker.ErrClosed) {
			return fail(21, "Responders after Close returned %s", errText(err))
		}
	}
	for range 2 {
		if err := s.Remove(ctx, broker.Exactly(ch)); err != nil {
			return fail(21, "Remove after Close returned %s", errText(err))
		}
		if err := s.Close(ctx); err != nil {
			return fail(21, "a subscription's Close after its broker's returned %s", errText(err))
		}
	}
	a.Broker.Stats()
	a.Broker.OnLoss(func(broker.Loss) {})()
	return e.one(ctx, open, b, ch) // other nodes do not notice
}

func second[T any](_ T, err error) error { return err }

// caseRunningReceiver closes a broker while one of its receivers is blocked.
func caseRunningReceiver(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/running", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	s.rec.holdUp()
	st := e.from(a, ch)
	if err := st.must(ctx, 3); err != nil {
		return err
	}
	if err := s.held(ctx); err != nil {
		return err
	}
	s.leaving(s.filters())
	switch err := ends(ctx, "Close", b.Broker.Close); {
	case err == nil:
		return fail(21, "Close returned nil while a receiver was being called")
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	}
	s.rec.letGo()
	return nil
}

// caseCloseCut closes a broker without a link. No message is queued, so Close need not wait.
func caseCloseCut(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/cut", "r")
	stay, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	s, err := e.subscribe(ctx, a, broker.Exactly(ch))
	if err != nil {
		return err
	}
	if err := e.cut(ctx, a, s, 1); err != nil {
		return err
	}
	s.leaving(s.filters())
	err = ends(ctx, "Close", a.Broker.Close)
	var hung *Failure
	if errors.As(err, &hung) {
		return err
	}
	if err := a.Heal(ctx); err != nil {
		return setup("healing a link", err)
	}
	if err := a.Broker.Publish(ctx, ch, nil); !errors.Is(err, broker.ErrClosed) {
		return fail(21, "Publish after Close returned %s", errText(err))
	}
	return e.one(ctx, stay, b, ch)
}
