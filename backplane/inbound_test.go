package backplane_test

import (
	"testing"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// A broker may ask for which rooms messages are wanted. A request that waits may put
// members into any room, so until it is done with everything is wanted.
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
			if ns.WantsForTest(broker.Native.Room(chat, room)) != want {
				t.Errorf("room %q: not %v", room, want)
			}
		}
		if !ns.WantsForTest(broadcastChannel) || !ns.WantsForTest(requestsChannel) {
			t.Error("only rooms may be unwanted")
		}
		if st := f.nodes[0].Stats(); st.Unwanted != 1 || st.Received != 1 {
			t.Errorf("one was refused: %+v", st)
		}

		// A member holds the worker up, and behind it waits a request to join.
		w := f.wire("stranger")
		w.send(broadcastChannel, pack([]any{1, "stranger", 1, 0, nil, nil, nil, "", []byte("1")}))
		settle()
		join, err := backplane.NativeCodec().AppendRequest(nil, chat, &wire.Request{
			ID: "stranger.1", Op: wire.OpJoin, Origin: "stranger", ByID: true, Member: "a", Targets: []string{"blue"},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.send(requestsChannel, join)
		settle()
		if !ns.WantsForTest(broker.Native.Room(chat, "blue")) || !ns.WantsForTest(broker.Native.Room(chat, "green")) {
			t.Error("a request waits: any room may be about to get members")
		}
		close(release)
		settle()
		if !ns.WantsForTest(broker.Native.Room(chat, "blue")) || ns.WantsForTest(broker.Native.Room(chat, "green")) {
			t.Error("the request is done with: blue has a member, green has none")
		}
		if n := unwanted(); n != 2 {
			t.Errorf("%d were refused", n)
		}
	})
}
