package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/crossroom/crossroom/broker"
)

var countCases = []Case{
	{Name: "B22_Subscribers", Clauses: []Clause{22}, run: caseSubscribers},
	{Name: "B22_ManyChannels", Clauses: []Clause{22}, run: caseCountMany},
	{Name: "B22_Killed", Clauses: []Clause{22}, Needs: CanKill, Timing: true, run: caseCountKilled},
	{Name: "B22_Frozen", Clauses: []Clause{22}, Needs: CanFreeze, Timing: true, run: caseCountFrozen},
	{Name: "B23_Responders", Clauses: []Clause{23}, run: caseResponders},
}

// count expects want subscribers of each channel, at once.
func (e *env) count(ctx context.Context, n *Node, clause Clause, want int, channels ...broker.Channel) error {
	got, err := n.Broker.Subscribers(ctx, channels...)
	if err != nil {
		return fail(clause, "Subscribers returned %s", errText(err))
	}
	if len(got) != len(channels) {
		return fail(clause, "Subscribers of %d channels returned %d numbers", len(channels), len(got))
	}
	for i, ch := range channels {
		if got[i] != want {
			return fail(clause, "Subscribers counts %d of %s instead of %d", got[i], clip(ch), want)
		}
	}
	return nil
}

// countSoon is count, with time for the system to notice the end of a subscription.
func (e *env) countSoon(ctx context.Context, n *Node, want int, channels ...broker.Channel) error {
	return eventually(ctx, func() error { return e.count(ctx, n, 22, want, channels...) })
}

func (e *env) counting(ctx context.Context) (*Node, error) {
	n, err := e.node(ctx)
	if err != nil {
		return nil, err
	}
	if n.Broker.Capabilities().CountsSubscribers {
		return n, nil
	}
	if _, err := n.Broker.Subscribers(ctx, broker.Control()); !errors.Is(err, errors.ErrUnsupported) {
		return nil, fail(22, "CountsSubscribers is not claimed, and Subscribers returned %s", errText(err))
	}
	return nil, skip("the broker does not claim CountsSubscribers (and returns errors.ErrUnsupported, as it should)")
}

func caseSubscribers(ctx context.Context, e *env) error {
	a, err := e.counting(ctx)
	if err != nil {
		return err
	}
	b, c, err := e.pair(ctx)
	if err != nil {
		return err
	}
	for _, ch := range []broker.Channel{native.Requests("/n"), socketIO.Requests("/n"), native.Room("/n", "r"), native.Broadcast("/n"), broker.Control()} {
		if err := e.count(ctx, a, 22, 0, ch); err != nil {
			return err
		}
		sa, err := e.subscribe(ctx, a, broker.Exactly(ch), broker.Exactly(ch))
		if err != nil {
			return err
		}
		if err := e.count(ctx, a, 22, 1, ch); err != nil { // this one included
			return err
		}
		sb, err := e.subscribe(ctx, b, broker.Exactly(ch))
		if err != nil {
			return err
		}
		again, err := e.subscribe(ctx, b, broker.Exactly(ch)) // each broker counts once
		if err != nil {
			return err
		}
		// EveryRoom and Uncounted do not count. Neither do similar names.
		others := []broker.Filter{broker.Exactly(native.Requests("/nn")), broker.Exactly(native.Room("/n", "r2")), broker.Exactly(native.Responses("/n"))}
		if !c.Broker.Capabilities().OnlyExactly {
			others = append(others, native.EveryRoom("/n"), socketIO.EveryRoom("/n"), native.Uncounted("/n"), socketIO.Uncounted("/n"))
		}
		every, err := e.subscribe(ctx, c, others...)
		if err != nil {
			return err
		}
		for _, n := range []*Node{a, b, c} {
			if err := e.count(ctx, n, 22, 2, ch); err != nil {
				return err
			}
		}
		if err := again.end(ctx); err != nil {
			return err
		}
		if err := e.count(ctx, a, 22, 2, ch); err != nil {
			return err
		}
		if err := sb.remove(ctx, broker.Exactly(ch)); err != nil {
			return err
		}
		if err := e.countSoon(ctx, a, 1, ch); err != nil {
			return err
		}
		for _, s := range []*sub{sa, sb, every} {
			if err := s.end(ctx); err != nil {
				return err
			}
		}
		if err := e.countSoon(ctx, a, 0, ch); err != nil {
			return err
		}
	}
	// A broker that closes removes its own subscriptions from the count.
	ch := native.Requests("/close")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	if err := e.count(ctx, a, 22, 1, ch); err != nil {
		return err
	}
	s.leaving(s.filters())
	if err := b.Broker.Close(ctx); err != nil {
		return fail(21, "Close without a fault returned %s", errText(err))
	}
	return e.countSoon(ctx, a, 0, ch)
}

func caseCountMany(ctx context.Context, e *env) error {
	a, err := e.counting(ctx)
	if err != nil {
		return err
	}
	b, err := e.node(ctx)
	if err != nil {
		return err
	}
	var channels, held []broker.Channel
	var filters []broker.Filter
	for i := range 1000 {
		ch := native.Room("/count", fmt.Sprint(i))
		channels = append(channels, ch)
		if i%3 == 0 {
			held = append(held, ch)
			filters = append(filters, broker.Exactly(ch))
		}
	}
	if _, err := e.subscribe(ctx, b, filters...); err != nil {
		return err
	}
	got, err := a.Broker.Subscribers(ctx, channels...)
	if err != nil {
		return fail(22, "Subscribers of 1000 channels returned %s", errText(err))
	}
	if len(got) != len(channels) {
		return fail(22, "Subscribers of %d channels returned %d numbers", len(channels), len(got))
	}
	for i := range channels {
		want := 0
		if i%3 == 0 {
			want = 1
		}
		if got[i] != want {
			return fail(22, "Subscribers counts %d of %v instead of %d, asked for 1000 at once", got[i], channels[i], want)
		}
	}
	if err := e.count(ctx, a, 22, 1, held[0], held[0], held[1], held[0]); err != nil { // duplicates in one call
		return err
	}
	return e.count(ctx, a, 22, 0)
}

func caseCountKilled(ctx context.Context, e *env) error {
	a, err := e.counting(ctx)
	if err != nil {
		return err
	}
	b, err := e.node(ctx)
	if err != nil {
		return err
	}
	ch := native.Requests("/killed")
	if _, err := e.subscribe(ctx, a, broker.Exactly(ch)); err != nil {
		return err
	}
	if _, err := e.subscribe(ctx, b, broker.Exactly(ch)); err != nil {
		return err
	}
	if err := e.count(ctx, a, 22, 2, ch); err != nil {
		return err
	}
	if err := b.Kill(ctx); err != nil {
		return setup("killing a node", err)
	}
	return e.countSoon(ctx, a, 1, ch)
}

func caseCountFrozen(ctx context.Context, e *env) error {
	a, err := e.counting(ctx)
	if err != nil {
		return err
	}
	b, err := e.node(ctx)
	if err != nil {
		return err
	}
	ch := native.Requests("/frozen")
	if _, err := e.subscribe(ctx, b, broker.Exactly(ch)); err != nil {
		return err
	}
	if err := b.Freeze(ctx); err != nil {
		return setup("freezing a node", err)
	}
	err = e.count(ctx, a, 22, 1, ch)
	if thawed := b.Thaw(ctx); err == nil && thawed != nil {
		return setup("thawing a node", thawed)
	}
	return err
}

func caseResponders(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if !a.Broker.Capabilities().ListsResponders {
		if _, err := a.Broker.Responders(ctx, native, "/r"); !errors.Is(err, errors.ErrUnsupported) {
			return fail(23, "ListsResponders is not claimed, and Responders returned %s", errText(err))
		}
		return skip("the broker does not claim ListsResponders (and returns errors.ErrUnsupported, as it should)")
	}
	list := func(w broker.Protocol, ns string, want ...string) error {
		got, err := a.Broker.Responders(ctx, w, ns)
		if err != nil {
			return fail(23, "Responders returned %s", errText(err))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			return fail(23, "Responders of %v %.100q lists %.400q instead of %.400q", w, ns, got, want)
		}
		return nil
	}
	if err := list(native, "/r"); err != nil {
		return err
	}
	ids := []string{"one", "two", "a b", "a.b", "*", "[x]", "日本", "0"}
	var filters []broker.Filter
	var want []string
	for _, id := range ids {
		if ch := native.NodeResponses("/r", id); len(mustCarry(ctx, b, ch)) == 1 {
			filters = append(filters, broker.Exactly(ch))
			want = append(want, id)
		}
	}
	s, err := e.subscribe(ctx, b, filters...)
	if err != nil {
		return err
	}
	both, err := e.subscribe(ctx, a, broker.Exactly(native.NodeResponses("/r", "one")), // held twice, listed once
		broker.Exactly(socketIO.NodeResponses("/r", "foreign")))
	if err != nil {
		return err
	}
	// Similar names, and channels of other kinds.
	others := []broker.Filter{broker.Exactly(native.Responses("/r")), broker.Exactly(native.Requests("/r")),
		native.EveryRoom("/r"), broker.Exactly(native.Room("/r", "room"))}
	for _, ns := range []string{"/rr", "/r/", "/", "", "/r*", "/R"} {
		if ch := native.NodeResponses(ns, "else"); len(mustCarry(ctx, b, ch)) == 1 {
			others = append(others, broker.Exactly(ch))
		}
	}
	if _, err := e.subscribe(ctx, b, others...); err != nil {
		return err
	}
	if err := list(native, "/r", want...); err != nil {
		return err
	}
	if err := list(socketIO, "/r", "foreign"); err != nil {
		return err
	}
	if err := list(native, "/empty"); err != nil {
		return err
	}
	if err := s.end(ctx); err != nil {
		return err
	}
	if err := eventually(ctx, func() error { return list(native, "/r", "one") }); err != nil {
		return err
	}
	if err := both.end(ctx); err != nil {
		return err
	}
	return eventually(ctx, func() error { return list(native, "/r") })
}
