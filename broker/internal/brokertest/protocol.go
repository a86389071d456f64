package brokertest

import (
	"testing"

	"github.com/crossroom/crossroom/broker"
)

// ThirdProtocol tests that two brokers carry a protocol they have no names for, with all its channels and filters,
// beside the native one.
func ThirdProtocol(t *testing.T, a, b broker.Broker) {
	third := broker.NewProtocol("third")
	channels := []broker.Channel{third.Broadcast("/"), third.Room("/", "room"), third.Requests("/"), third.Responses("/"), third.NodeResponses("/", "id")}
	exact, every, native := Record(t), Record(t), Record(t)
	var filters, others []broker.Filter
	for _, ch := range channels {
		filters = append(filters, broker.Exactly(ch))
	}
	Subscribe(t, b, exact, filters...)
	Subscribe(t, b, every, third.EveryRoom("/"))
	p := broker.Native
	for _, ch := range []broker.Channel{p.Broadcast("/"), p.Room("/", "room"), p.Requests("/"), p.Responses("/"), p.NodeResponses("/", "id")} {
		others = append(others, broker.Exactly(ch))
	}
	Subscribe(t, b, native, append(others, p.EveryRoom("/"))...)
	for _, ch := range channels {
		Publish(t, a, ch, ch.Kind().String())
		exact.Want(ch, ch.Kind().String())
		if third.EveryRoom("/").Matches(ch) {
			every.Want(ch, ch.Kind().String())
		}
	}
	Publish(t, a, p.Broadcast("/"), "native")
	native.Want(p.Broadcast("/"), "native")
	exact.WantNothing()
	every.WantNothing()
	native.WantNothing()
}
