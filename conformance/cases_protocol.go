package conformance

import (
	"context"
	"errors"
	"slices"

	"github.com/crossroom/crossroom/broker"
)

var protocolCases = []Case{
	{Name: "B31_Protocol", Clauses: []Clause{31, 4, 19}, run: caseProtocol},
}

// third is a protocol that no broker has names for.
var third = broker.NewProtocol("conformance")

func isUnsupported(err error) bool {
	var refused *broker.ProtocolError
	return asType(err, &refused) && errors.Is(err, errors.ErrUnsupported)
}

// caseProtocol uses a third protocol. Either each of its channels and filters works and meets no channel of another
// protocol, or every call refuses it.
func caseProtocol(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	s, err := e.subscribe(ctx, b)
	if err != nil {
		return err
	}
	var streams []*stream
	for _, p := range []broker.Protocol{native, socketIO, third} {
		for _, ch := range []broker.Channel{p.Broadcast("/p"), p.Room("/p", "r"), p.Requests("/p"), p.Responses("/p"), p.NodeResponses("/p", "id")} {
			err := a.Broker.Publish(ctx, ch, encode(nil, probe, 1, 0))
			if p == third && isUnsupported(err) {
				if err := e.refused(ctx, b, s, ch); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fail(31, "Publish on %v returned %s", ch, errText(err))
			}
			// One subscription each, so that a message on another protocol's channel is detected.
			own, err := e.subscribe(ctx, b, broker.Exactly(ch))
			if err != nil {
				return err
			}
			st := e.from(a, ch)
			if err := st.must(ctx, 1); err != nil {
				return err
			}
			if err := own.all(ctx, 31, st); err != nil {
				return err
			}
			streams = append(streams, st)
		}
		if b.Broker.Capabilities().OnlyExactly {
			for _, f := range []broker.Filter{p.EveryRoom("/p"), p.Uncounted("/p")} {
				if err := s.Add(ctx, f); !isUnsupported(err) {
					return fail(31, "OnlyExactly is claimed, and Add of %v returned %s", f, errText(err))
				}
				if _, err := b.Broker.Subscribe(ctx, ignore{}, f); !isUnsupported(err) {
					return fail(31, "OnlyExactly is claimed, and Subscribe to %v returned %s", f, errText(err))
				}
			}
			continue
		}
		if err := s.tryAdd(ctx, p.EveryRoom("/p")); err != nil && !(p == third && isUnsupported(err)) {
			return fail(31, "Add of %v returned %s", p.EveryRoom("/p"), errText(err))
		}
	}
	for _, st := range streams {
		if err := st.must(ctx, 1); err != nil {
			return err
		}
		if s.wants(st.ch) {
			if err := s.all(ctx, 31, st); err != nil {
				return err
			}
		}
	}
	if c := a.Broker.Capabilities(); c.CountsSubscribers && c.ListsResponders {
		return e.countedApart(ctx, a, b)
	}
	return nil
}

// refused checks that no call accepts a channel that Publish refuses, and that an Add with it adds nothing.
func (e *env) refused(ctx context.Context, n *Node, s *sub, ch broker.Channel) error {
	f, good := broker.Exactly(ch), broker.Exactly(native.Room("/p", "good"))
	if _, err := e.trySubscribe(ctx, n, good, f); !isUnsupported(err) {
		return fail(31, "Publish refuses %v, and Subscribe returned %s", ch, errText(err))
	}
	if err := s.tryAdd(ctx, good, f); !isUnsupported(err) {
		return fail(31, "Publish refuses %v, and Add returned %s", ch, errText(err))
	}
	if _, err := n.Broker.Subscribers(ctx, ch); !errors.Is(err, errors.ErrUnsupported) {
		return fail(31, "Publish refuses %v, and Subscribers returned %s", ch, errText(err))
	}
	if ch.Kind() == broker.KindNodeResponses {
		if _, err := n.Broker.Responders(ctx, ch.Protocol(), ch.Namespace()); !errors.Is(err, errors.ErrUnsupported) {
			return fail(31, "Publish refuses %v, and Responders returned %s", ch, errText(err))
		}
	}
	return e.noDelivery(ctx, n, good.Channel(), n, nil, broker.Channel{})
}

// countedApart checks that subscribers of the third protocol do not count in another.
func (e *env) countedApart(ctx context.Context, a, b *Node) error {
	if !isCarried(ctx, a, third.Requests("/counted")) || !isCarried(ctx, a, third.NodeResponses("/counted", "id")) {
		return nil
	}
	if _, err := e.subscribe(ctx, b, broker.Exactly(third.Requests("/counted")), broker.Exactly(third.NodeResponses("/counted", "id"))); err != nil {
		return err
	}
	counts, err := a.Broker.Subscribers(ctx, third.Requests("/counted"), native.Requests("/counted"), socketIO.Requests("/counted"))
	if err != nil || !slices.Equal(counts, []int{1, 0, 0}) {
		return fail(31, "the subscribers of the third protocol, native and socketio are %v (%s) instead of [1 0 0]", counts, errText(err))
	}
	for p, want := range map[broker.Protocol][]string{third: {"id"}, native: nil, socketIO: nil} {
		if ids, err := a.Broker.Responders(ctx, p, "/counted"); err != nil || !slices.Equal(ids, want) {
			return fail(31, "the responders of %v are %q (%s) instead of %q", p, ids, errText(err), want)
		}
	}
	return nil
}

func isCarried(ctx context.Context, n *Node, ch broker.Channel) bool {
	return n.Broker.Publish(ctx, ch, encode(nil, probe, 1, 0)) == nil
}
