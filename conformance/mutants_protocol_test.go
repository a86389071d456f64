package conformance_test

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance"
)

var b31 = []conformance.Clause{31}

var protocolBreakages = []breakage{
	{name: "an unknown protocol is dropped without an error", waits: true, caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if isOther(ch) {
				return nil
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "an unknown protocol is taken for native", caught: "B31_Protocol", clauses: []conformance.Clause{4}, wrap: func(b mem) broker.Broker {
		return withFilters(b, func(f broker.Filter) []broker.Filter {
			if ch := f.Channel(); isOther(ch) && ch.Kind() == broker.KindResponses {
				return []broker.Filter{broker.Exactly(broker.Native.Responses(ch.Namespace()))}
			}
			return nil
		})
	}},
	{name: "an unknown protocol's subscribers count as native", caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onSubscribers: func(ctx context.Context, channels ...broker.Channel) ([]int, error) {
			for i, ch := range channels {
				if isOther(ch) {
					channels[i] = broker.Native.Requests(ch.Namespace())
				}
			}
			return b.Subscribers(ctx, channels...)
		}}
	}},
	{name: "an unknown protocol's responders count as native", caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onResponders: func(ctx context.Context, _ broker.Protocol, ns string) ([]string, error) {
			return b.Responders(ctx, broker.NewProtocol("conformance"), ns)
		}}
	}},
	{name: "an unknown protocol is an untyped error", caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		return &mutant{Broker: b, onPublish: func(ctx context.Context, ch broker.Channel, p []byte) error {
			if isOther(ch) {
				return errors.ErrUnsupported
			}
			return b.Publish(ctx, ch, p)
		}}
	}},
	{name: "Publish alone refuses an unknown protocol", caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		return closedTo(b, isOther, func(broker.Channel) bool { return false })
	}},
	{name: "Publish alone takes an unknown protocol", caught: "B31_Protocol", clauses: []conformance.Clause{1, 31}, wrap: func(b mem) broker.Broker {
		return closedTo(b, func(broker.Channel) bool { return false }, isOther)
	}},
	{name: "Add takes an unknown protocol", caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		closed := closedTo(b, isOther, isOther).(*mutant)
		closed.onSubscribe = without(closed.onSubscribe, b)
		return closed
	}},
	{name: "Subscribers counts an unknown protocol", caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		closed := closedTo(b, isOther, isOther).(*mutant)
		closed.onSubscribers = nil
		return closed
	}},
	{name: "Responders lists an unknown protocol", caught: "B31_Protocol", clauses: b31, wrap: func(b mem) broker.Broker {
		closed := closedTo(b, isOther, isOther).(*mutant)
		closed.onResponders = nil
		return closed
	}},
}

// without calls subscribe only for its error. It returns b's own subscription.
func without(subscribe func(context.Context, broker.Receiver, ...broker.Filter) (broker.Subscription, error), b mem) func(context.Context, broker.Receiver, ...broker.Filter) (broker.Subscription, error) {
	return func(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
		s, err := subscribe(ctx, r, filters...)
		if err != nil {
			return nil, err
		}
		if err := s.Close(ctx); err != nil {
			return nil, err
		}
		return b.Subscribe(ctx, r, filters...)
	}
}
