package backplane_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// allocs skips tests whose allocations cannot be counted: the race detector allocates too.
func allocs(t *testing.T, what string, limit float64, f func()) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	f() // reused memory grows once
	assert.LessOrEqual(t, testing.AllocsPerRun(200, f), limit, "%s: allocations", what)
}

// crowd is a namespace with n members in the room "red".
func crowd(t testing.TB, n int) *backplane.Namespace {
	ns := one(t, nil, nil)
	for i := range n {
		id := fmt.Sprint("m", i)
		require.NoError(t, ns.Add(t.Context(), newNull(id)))
		require.NoError(t, ns.Join(t.Context(), id, "red"))
	}
	return ns
}

// A message for a room without local members costs nothing.
func TestAllocsOfUnwanted(t *testing.T) {
	ns := crowd(t, 10)
	p := pack([]any{1, "x", 1, 0, []any{"nowhere"}, nil, nil, "", []byte("hi")})
	room, everybody := broker.Native.Room(chat, "nowhere"), broadcastChannel
	before := ns.Node().Stats()
	allocs(t, "by its channel", 0, func() { ns.HandleForTest(room, p) })
	allocs(t, "by its rooms", 0, func() { ns.HandleForTest(everybody, p) })
	st := ns.Node().Stats()
	assert.NotEqual(t, before.Unwanted, st.Unwanted)
	assert.LessOrEqual(t, st.Undecodable, uint64(0))
}

// Fan-out allocates for a message, not for a member.
func TestAllocsOfFanOut(t *testing.T) {
	for _, n := range []int{1, 10, 10_000} {
		ns := crowd(t, n)
		p := pack([]any{1, "x", 1, 0, []any{"red"}, []any{"unknown"}, nil, "", []byte("hi")})
		// One for the Message.
		allocs(t, fmt.Sprint("from another node to ", n), 1, func() { ns.HandleForTest(broadcastChannel, p) })
		local := backplane.To(redRoom...).Local()
		allocs(t, fmt.Sprint("from here to ", n), 1, func() {
			require.NoError(t, ns.Broadcast(t.Context(), p, local))
		})
	}
}

var redRoom = []string{"red"}

// A broadcast that leaves the node is encoded into reused memory.
func TestAllocsOfBroadcast(t *testing.T) {
	ns := alone(t)
	p := make([]byte, 128)
	target := backplane.To(redRoom...)
	allocs(t, "Broadcast", 0, func() {
		require.NoError(t, ns.Broadcast(t.Context(), p, target))
	})
	if ns.Node().Stats().Broadcasts == 0 && !raceEnabled {
		t.Error("nothing was sent")
	}
}

// alone is a namespace whose broker forgets what is published.
func alone(t testing.TB) *backplane.Namespace {
	t.Helper()
	return oneOn(t, &forgetfulBroker{memorybroker.New(nil)}, nil, nil)
}

type forgetfulBroker struct{ broker.Broker }

func (*forgetfulBroker) Publish(context.Context, broker.Channel, []byte) error { return nil }
