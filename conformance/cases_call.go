package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/broker"
)

var callCases = []Case{
	{Name: "B19_EndedContext", Clauses: []Clause{19}, run: caseEnded},
	{Name: "B20_CutLink", Clauses: []Clause{20, 19}, Needs: CanCut, Timing: true, run: caseEndsCut},
	{Name: "B20_HalfOpen", Clauses: []Clause{20}, Needs: CanHalfOpen, Timing: true, run: caseEndsHalfOpen},
	{Name: "B25_Capabilities", Clauses: []Clause{25}, run: caseCapabilities},
}

// caseEnded makes every call with an ended context.
func caseEnded(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	cancelled, cancel := context.WithCancelCause(ctx)
	cancel(errors.New("a cause that is not the context's error"))
	late, cancelLate := context.WithDeadline(ctx, time.Unix(1, 0))
	defer cancelLate()
	stay, never := native.Room("/ended", "stay"), native.Room("/ended", "never")
	s, err := e.subscribe(ctx, b, broker.Exactly(stay))
	if err != nil {
		return err
	}
	for _, dead := range []context.Context{cancelled, late} {
		s.rec.blameLate(19)
		if _, err := e.trySubscribe(dead, b, broker.Exactly(never)); err != dead.Err() {
			return fail(19, "Subscribe returned %s", errText(err))
		}
		if err := s.tryAdd(dead, broker.Exactly(never)); err != dead.Err() {
			return fail(19, "Add returned %s", errText(err))
		}
		if err := s.Remove(dead, broker.Exactly(stay)); err != dead.Err() {
			return fail(19, "Remove returned %s", errText(err))
		}
		if err := a.Broker.Publish(dead, stay, []byte("must not arrive")); err != dead.Err() {
			return fail(19, "Publish returned %s", errText(err))
		}
		s.rec.blameForeign(19)
		if err := a.Broker.Flush(dead); err != dead.Err() {
			return fail(19, "Flush returned %s", errText(err))
		}
		if a.Broker.Capabilities().CountsSubscribers {
			if _, err := a.Broker.Subscribers(dead, stay); err != dead.Err() {
				return fail(19, "Subscribers returned %s", errText(err))
			}
			if err := e.count(ctx, a, 19, 0, never); err != nil {
				return err
			}
		}
		if a.Broker.Capabilities().ListsResponders {
			if _, err := a.Broker.Responders(dead, broker.Native, "/never"); err != dead.Err() {
				return fail(19, "Responders returned %s", errText(err))
			}
		}
		if err := e.noDelivery(ctx, a, never, b, s, stay); err != nil {
			return err
		}
	}
	return nil
}

// caseEndsCut makes every call that may have to wait for the link.
func caseEndsCut(ctx context.Context, e *env) error {
	return e.ends(ctx, func(n *Node, s *sub) error { return e.cut(ctx, n, s, 1) }, 1)
}

func caseEndsHalfOpen(ctx context.Context, e *env) error {
	return e.ends(ctx, func(n *Node, _ *sub) error { return n.HalfOpen(ctx) }, 0)
}

func (e *env) ends(ctx context.Context, down func(*Node, *sub) error, noticed int) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	stay, never, gone := native.Room("/ends", "stay"), native.Room("/ends", "never"), native.Room("/ends", "gone")
	s, err := e.subscribe(ctx, b, broker.Exactly(stay), broker.Exactly(gone))
	if err != nil {
		return err
	}
	other, err := e.subscribe(ctx, b, broker.Exactly(gone))
	if err != nil {
		return err
	}
	if err := down(b, s); err != nil {
		return err
	}
	st := e.from(b, native.Requests("/ends"))
	st.lossy.Store(true)
	if err := st.publish(ctx); err != nil {
		return fail(16, "Publish failed because the link was cut: %v", err)
	}
	s.rec.blameLate(19)
	live := map[string]bool{}
	for _, c := range []struct {
		name string
		call func(context.Context) error
	}{
		{"Flush", b.Broker.Flush},
		{"Subscribe", func(ctx context.Context) error {
			_, err := e.trySubscribe(ctx, b, broker.Exactly(never))
			return err
		}},
		{"Add", func(ctx context.Context) error { return s.tryAdd(ctx, broker.Exactly(never)) }},
		{"Remove", func(ctx context.Context) error { return s.Remove(ctx, broker.Exactly(gone)) }},
		{"Subscribers", func(ctx context.Context) error {
			_, err := b.Broker.Subscribers(ctx, stay)
			return err
		}},
		{"Responders", func(ctx context.Context) error {
			_, err := b.Broker.Responders(ctx, native, "/ends")
			return err
		}},
		{"a subscription's Close", other.Close},
	} {
		err := ends(ctx, c.name, c.call)
		var hung *Failure
		if errors.As(err, &hung) {
			return err
		}
		live[c.name] = err == nil
	}
	for _, name := range []string{"Flush", "Subscribe", "Add"} {
		if live[name] {
			clause := Clause(1)
			if name == "Flush" {
				clause = 17
			}
			return fail(clause, "%s returned nil while the link was half-open", name)
		}
	}
	if err := b.Heal(ctx); err != nil {
		return setup("healing a link", err)
	}
	if noticed > 0 {
		if err := s.up(ctx, noticed); err != nil {
			return err
		}
	}
	if err := flushed(ctx, b); err != nil {
		return err
	}
	// A failed call has left nothing behind, also on the system. Data that the link held back may arrive only now,
	// followed by the end of the connection.
	if a.Broker.Capabilities().CountsSubscribers {
		if err := eventually(ctx, func() error { return e.count(ctx, a, 19, 0, never) }); err != nil {
			return err
		}
	}
	return e.noDelivery(ctx, a, never, b, nil, stay)
}

func caseCapabilities(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	first := a.Broker.Capabilities()
	switch {
	case first.Name == "":
		return fail(25, "Capabilities.Name is empty")
	case first.MaxPayload < 0:
		return fail(25, "Capabilities.MaxPayload is %d", first.MaxPayload)
	}
	if b.Broker.Capabilities().Name != first.Name {
		return fail(25, "two brokers of one system are called %q and %q", first.Name, b.Broker.Capabilities().Name)
	}
	ch := native.NodeResponses("/cap", "me")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	if err := e.one(ctx, s, a, ch); err != nil {
		return err
	}
	_, err = a.Broker.Subscribers(ctx, ch)
	if claims := first.CountsSubscribers; claims != (err == nil) || !claims && !errors.Is(err, errors.ErrUnsupported) {
		return fail(25, "CountsSubscribers is %v and Subscribers returned %s", claims, errText(err))
	}
	_, err = a.Broker.Responders(ctx, native, "/cap")
	if claims := first.ListsResponders; claims != (err == nil) || !claims && !errors.Is(err, errors.ErrUnsupported) {
		return fail(25, "ListsResponders is %v and Responders returned %s", claims, errText(err))
	}
	if err := a.Broker.Close(ctx); err != nil {
		return fail(21, "Close without a fault returned %s", errText(err))
	}
	if last := a.Broker.Capabilities(); last != first {
		return fail(25, "Capabilities changed from %+v to %+v", first, last)
	}
	return nil
}
