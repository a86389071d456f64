package adapter_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// Options that need all broadcasts cannot be combined with subscriptions to rooms.
func TestSubscriptionOption(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	for name, o := range map[string]adapter.Options{
		"unknown":     {Subscription: backplane.DynamicSubscription + 1},
		"Links":       {Subscription: backplane.DynamicSubscription, Links: []adapter.Link{{Broker: memorybroker.New(nil)}}},
		"OnBroadcast": {Subscription: backplane.DynamicSubscription, OnBroadcast: func(*adapter.Packet, []string, []string) bool { return true }},
	} {
		_, err := adapter.New(bus.Broker(), &o)
		var option *backplane.OptionError
		if assert.ErrorAs(t, err, &option, name) {
			assert.Equal(t, "Subscription", option.Option)
		}
	}
}

func TestDynamicSubscription(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	here := newNode(t, bus, adapter.Options{Subscription: backplane.DynamicSubscription})
	there := newNode(t, bus, adapter.Options{Subscription: backplane.DynamicSubscription})
	s := newSocket("s")
	ok(t, here.ns.Add(t.Context(), s))
	ok(t, here.ns.Join(t.Context(), "s", "red"))
	for _, to := range []string{"red", "s", "blue", "red"} {
		ok(t, there.ns.To(to).Emit(t.Context(), to))
	}
	for _, want := range []string{"red", "s", "red"} {
		assert.Equal(t, want, s.next(t).Event())
	}
	assert.Zero(t, here.Stats().Links[0].Unwanted, "messages to a room that no socket here is in")
}
