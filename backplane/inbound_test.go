package backplane_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// A broker may call Wants for a room. A waiting request may put members into any room, so all
// messages are wanted until it has been handled.
func TestWants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{StallTimeout: -1}, nil)
		ns := f.ns[0]
		release := make(chan struct{})
		a := newSocket("a")
		a.onDeliver = func() { <-release }
		f.join(0, a, "red")
		unwanted := func() uint64 { return f.nodes[0].Stats().Unwanted }

		for room, want := range map[string]bool{"red": true, "a": true, "": true, "blue": false} {
			assert.Equal(t, want, ns.WantsForTest(broker.Native.Room(chat, room)), "room %q", room)
		}
		require.True(t, ns.WantsForTest(broadcastChannel), "only rooms may be unwanted")
		assert.True(t, ns.WantsForTest(requestsChannel), "only rooms may be unwanted")
		st := f.nodes[0].Stats()
		assert.EqualValues(t, 1, st.Unwanted, "one was refused")
		assert.EqualValues(t, 1, st.Received, "one was refused")

		// A member blocks the worker, and a request to join waits behind it.
		w := f.wire("stranger")
		w.send(broadcastChannel, pack([]any{1, "stranger", 1, 0, nil, nil, nil, "", []byte("1")}))
		settle()
		join, err := backplane.NativeCodec().AppendRequest(nil, chat, &wire.Request{
			ID: "stranger.1", Op: wire.OpJoin, Origin: "stranger", ByID: true, Member: "a", Targets: []string{"blue"},
		})
		require.NoError(t, err)
		w.send(requestsChannel, join)
		settle()
		require.True(t, ns.WantsForTest(broker.Native.Room(chat, "blue")), "a request waits: any room may be about to get members")
		assert.True(t, ns.WantsForTest(broker.Native.Room(chat, "green")), "a request waits: any room may be about to get members")
		close(release)
		settle()
		require.True(t, ns.WantsForTest(broker.Native.Room(chat, "blue")), "the request is done with: blue has a member, green has none")
		assert.False(t, ns.WantsForTest(broker.Native.Room(chat, "green")), "the request is done with: blue has a member, green has none")
		assert.EqualValues(t, 2, unwanted(), "refused")
	})
}
