package memorybroker_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

func TestRouting(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	r, _ := subscribe(t, b, broker.Native.EveryRoom("/a"), broker.Exactly(broker.Native.Room("/a", "x")))
	publish(t, a, broker.Native.Room("/a", "x"), "both filters")
	publish(t, b, broker.Native.Room("/a", "y"), "own")
	publish(t, a, broker.SocketIO.Room("/a", "x"), "other wire")
	publish(t, a, broker.Native.Room("/ab", "x"), "other namespace")
	publish(t, a, broker.Native.Requests("/a"), "other kind")
	publish(t, a, broker.Native.Broadcast("/a"), "broadcast")
	r.expect(t, "both filters", "own", "broadcast")
	r.nothing(t)
}

func TestBusesAreApart(t *testing.T) {
	a, b := memorybroker.New(nil), memorybroker.New(nil)
	defer closing(t, a, b)
	r, _ := subscribe(t, a, broker.Exactly(lobby))
	publish(t, b, lobby, "elsewhere")
	publish(t, a, lobby, "here")
	r.expect(t, "here")
}

func TestPayloadIsCopiedOnceAndShared(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	got := make(chan []byte, 2)
	for _, n := range []*memorybroker.Broker{a, b} {
		_, err := n.Subscribe(t.Context(), keeper(got), broker.Exactly(lobby))
		require.NoError(t, err)
	}
	sent := []byte("hello")
	require.NoError(t, a.Publish(t.Context(), lobby, sent))
	one, two := <-got, <-got
	assert.Same(t, &two[0], &one[0], "each receiver has a copy of its own")
	assert.NotSame(t, &sent[0], &one[0], "the receivers share the publisher's slice")
	assert.Equal(t, len(one), cap(one), "appending to a payload would write into shared memory")
}

type keeper chan []byte

func (k keeper) Deliver(_ broker.Channel, p []byte) { k <- p }
func (keeper) Interrupted(error)                    {}
func (keeper) Resumed()                             {}

func TestAllocations(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	payload := make([]byte, 128)
	ctx := t.Context()
	send := func() {
		if err := a.Publish(ctx, lobby, payload); err != nil {
			t.Fatal(err)
		}
	}
	assert.Zero(t, testing.AllocsPerRun(100, send), "allocations for a message without subscribers")
	for _, n := range []*memorybroker.Broker{a, b} {
		_, err := n.Subscribe(ctx, nop{}, broker.Native.EveryRoom("/chat"))
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, testing.AllocsPerRun(1000, send), 1.0, "allocations for a message to two nodes")
}

func TestCounts(t *testing.T) {
	ctx := t.Context()
	bus := memorybroker.NewBus(nil)
	a, b := bus.Broker(), bus.Broker()
	defer closing(t, a, b)
	requests, answers := broker.SocketIO.Requests("/"), broker.SocketIO.NodeResponses("/", "b")
	subscribe(t, a, broker.Exactly(requests))
	subscribe(t, b, broker.Exactly(requests), broker.Exactly(answers))
	subscribe(t, b, broker.Exactly(requests), broker.SocketIO.EveryRoom("/"))

	check := func(when string, want []int, ids ...string) {
		t.Helper()
		got, err := a.Subscribers(ctx, requests, answers, broker.SocketIO.Broadcast("/"))
		require.NoError(t, err)
		assert.Equal(t, want, got, "%s: subscribers", when)
		list, err := a.Responders(ctx, broker.SocketIO, "/")
		require.NoError(t, err)
		assert.Equal(t, append([]string{}, ids...), list, "%s: responders", when)
	}
	check("at first", []int{2, 1, 0}, "b")
	memorytest.Freeze(b)
	check("frozen", []int{2, 1, 0}, "b")
	memorytest.Thaw(b)
	memorytest.Cut(b, nil)
	check("cut off", []int{1, 0, 0})
	memorytest.Heal(b)
	check("back", []int{2, 1, 0}, "b")
	memorytest.Kill(b)
	check("killed", []int{1, 0, 0})
}
