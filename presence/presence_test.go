package presence_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/presence"
)

// Users with several connections on several nodes are one user, on every node.
func TestUsers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, open func() place) {
		a, b := start(t, open()), start(t, open())
		require.NoError(t, a.Join("lobby", presence.Member{ID: "1", User: "ana", State: []byte("busy")}))
		require.NoError(t, b.Join("lobby", presence.Member{ID: "1", User: "ana"}))
		require.NoError(t, b.Join("lobby", presence.Member{ID: "2"}))
		agree(t, 3, a, b)
		users := b.Room("lobby").Users()
		require.Len(t, users, 2)
		assert.Equal(t, []string{"2", "ana"}, []string{users[0].ID, users[1].ID})
		assert.Len(t, users[1].Members, 2)
		require.NoError(t, a.Join("lobby", presence.Member{ID: "1", User: "bo"}), "an update")
		assert.Equal(t, 1, b.Remove("1"))
		agree(t, 2, a, b)
		u, m := a.Count("lobby")
		assert.Equal(t, []int{2, 2}, []int{u, m})
		assert.False(t, a.Leave("lobby", "2"), "it is on b")
		assert.True(t, b.Leave("lobby", "2"))
		agree(t, 1, a, b)
	})
}

// A watch begins with a snapshot, and then has each change once and in order, with marks for a user's first and last
// connection.
func TestWatch(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, open func() place) {
		a, b := start(t, open()), start(t, open())
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.NoError(t, b.Join("elsewhere", presence.Member{ID: "0"}))
		agree(t, 1, a, b) // a knows b: otherwise it could get a snapshot later, which has only the result of the changes
		require.NoError(t, a.AwaitSync(ctx))
		changes := make(chan presence.Change)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for c := range a.Watch(ctx, "lobby") {
				changes <- c
			}
		}()
		assert.Equal(t, presence.Snapshot, (<-changes).Kind)
		require.NoError(t, b.Join("lobby", presence.Member{ID: "1", User: "ana"}))
		require.NoError(t, b.Join("elsewhere", presence.Member{ID: "1", User: "ana"}))
		require.NoError(t, b.Join("lobby", presence.Member{ID: "2", User: "ana"}))
		require.NoError(t, b.Join("lobby", presence.Member{ID: "2", User: "ana"}), "no change")
		require.NoError(t, b.Join("lobby", presence.Member{ID: "2", User: "ana", State: []byte("busy")}))
		b.Leave("lobby", "1")
		b.Leave("lobby", "2")
		for _, want := range []string{"joined 1 1", "joined 2 2", "updated 2 2", "left 1 1", "left 2 0"} {
			c := <-changes
			assert.Equal(t, want, fmt.Sprint(c.Kind, " ", c.Member.ID, " ", c.Connections))
		}
		cancel()
		<-done
	})
}

// A loop that is slow misses changes, is told how many, and gets a snapshot that has them.
func TestSlowWatch(t *testing.T) {
	t.Parallel()
	a := start(t, systems["memory"](t)())
	n := 0
	for c := range a.Watch(t.Context(), "lobby") {
		switch n++; n {
		case 1:
			a.join(t, "lobby", presence.MaxChanges+10) // from inside the loop, which does not read
		case 2:
			assert.Equal(t, presence.Snapshot, c.Kind)
			assert.Equal(t, presence.MaxChanges+10, c.Missed)
			assert.Len(t, c.Room.Members, presence.MaxChanges+10)
			a.Remove(c.Room.Members[0].ID)
		case 3:
			assert.Equal(t, presence.Left, c.Kind)
			require.NoError(t, a.Close(t.Context()), "from inside a loop")
		}
	}
	assert.Equal(t, 3, n)
}

// What cannot be joined is a typed error; after Close nothing is there.
func TestRefused(t *testing.T) {
	t.Parallel()
	a := start(t, systems["memory"](t)())
	long := strings.Repeat("x", presence.MaxName+1)
	var name *presence.NameError
	var limit *presence.LimitError
	assert.ErrorAs(t, a.Join("lobby", presence.Member{}), &name)
	assert.ErrorAs(t, a.Join("\xff", presence.Member{ID: "1"}), &name)
	assert.ErrorAs(t, a.Join("lobby", presence.Member{ID: "1", User: "\xff"}), &name)
	assert.ErrorAs(t, a.Join(long, presence.Member{ID: "1"}), &limit)
	assert.ErrorAs(t, a.Join("lobby", presence.Member{ID: long}), &limit)
	assert.ErrorAs(t, a.Join("lobby", presence.Member{ID: "1", State: make([]byte, presence.MaxState+1)}), &limit)
	assert.Zero(t, a.Stats().Members)
	for _, hostile := range []string{"", "#", "*", "a\x00b", "\n", "💥", "__proto__"} {
		assert.NoError(t, a.Join(hostile, presence.Member{ID: hostile + "1", User: hostile}))
	}
	assert.Len(t, a.Rooms(), 7)
	_, err := presence.New(t.Context(), a.core, nil)
	assert.ErrorIs(t, err, backplane.ErrNamespaceExists)
	var option *presence.OptionError
	_, err = presence.New(t.Context(), nil, nil)
	assert.ErrorAs(t, err, &option)
	_, err = presence.New(t.Context(), a.core, &presence.Options{Interval: -1})
	assert.ErrorAs(t, err, &option)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = presence.New(ended, a.core, &presence.Options{Namespace: "other"})
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, a.AwaitSync(ended), context.Canceled)
	for range a.Watch(ended, "") {
		t.Error("a watch with an ended context")
	}
	require.NoError(t, a.Close(t.Context()))
	require.NoError(t, a.Close(t.Context()))
	assert.ErrorIs(t, a.Join("lobby", presence.Member{ID: "1"}), presence.ErrClosed)
	assert.ErrorIs(t, a.AwaitSync(t.Context()), presence.ErrClosed)
	assert.False(t, a.Leave("", "1"))
	assert.Zero(t, a.Remove("1"))
	assert.Empty(t, a.Room("").Members)
	for range a.Watch(t.Context(), "") {
		t.Error("a watch after Close")
	}
}

// A hundred thousand members reach a node that starts later. A change among them is one small message.
func TestManyMembers(t *testing.T) {
	t.Parallel()
	open := systems["memory"](t)
	a := start(t, open())
	a.join(t, "lobby", 100_000)
	b := start(t, open())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, b.AwaitSync(ctx))
	users, members := b.Count("lobby")
	require.Equal(t, []int{7, 100_000}, []int{users, members}, "%+v", b.core.KnownPeers())
	before := a.Stats()
	require.NoError(t, a.Join("lobby", presence.Member{ID: "one more"}))
	require.Eventually(t, func() bool { return b.Connections("lobby", "one more") == 1 }, patience, time.Millisecond)
	after := a.Stats()
	assert.Equal(t, before.Snapshots, after.Snapshots, "a change takes no snapshot")
	assert.LessOrEqual(t, after.Sent-before.Sent, uint64(patience/time.Second))
}

// liar opens the namespace of presence as a node that sends what it likes.
func liar(t *testing.T, at place) (send func(payload []byte)) {
	core, err := backplane.New(at.broker, &backplane.Options{OnError: func(error) {}})
	require.NoError(t, err)
	ns, err := core.Namespace(t.Context(), "presence", nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		core.Close(context.Background())
		at.broker.Close(context.Background())
	})
	return func(payload []byte) { require.NoError(t, ns.Broadcast(t.Context(), payload, backplane.All())) }
}

func entries(dst []byte, first, n int, state []byte) []byte {
	dst = msgpack.AppendArrayLen(dst, n)
	for i := range n {
		dst = msgpack.AppendUint(msgpack.AppendArrayLen(dst, 5), 0)
		dst = msgpack.AppendString(msgpack.AppendString(msgpack.AppendString(dst, "lobby"), fmt.Sprint(first+i)), "liar")
		dst = msgpack.AppendBytes(dst, state)
	}
	return dst
}

func numbers(n int, values ...uint64) []byte {
	dst := msgpack.AppendArrayLen(nil, n)
	for _, v := range values {
		dst = msgpack.AppendUint(dst, v)
	}
	return dst
}

// A node that lies harms only what is known of itself: what it can have stored is limited, and the room says so.
func TestLiar(t *testing.T) {
	t.Parallel()
	open := systems["memory"](t)
	a, b := start(t, open()), start(t, open())
	a.join(t, "lobby", 10)
	agree(t, 10, a, b)
	send := liar(t, open())
	require.Eventually(t, func() bool { return len(b.Room("").Missing) == 1 }, patience, time.Millisecond, "the liar is known")
	for range 1000 {
		noise := make([]byte, rand.IntN(64))
		for i := range noise {
			noise[i] = byte(rand.Uint32())
		}
		send(noise)
	}
	for number := range uint64(5) {
		send(numbers(6, 1, 2, number, 1<<63, 1, 0))                          // a state of no number
		send(append(entries(numbers(6, 1, 1, 7, 1<<61), 0, 5, nil), 0))      // changes from far in the future
		send(append(numbers(5, 1, 3, 7, number), 0xc0))                      // asks
		send(append(entries(numbers(9, 1, 4, 7, 9, 1, 3, 1), 0, 5, nil), 0)) // a part without those before it
	}
	claim := msgpack.AppendString(msgpack.AppendArrayLen(append(numbers(5, 1, 6, 7, 0), 0x91), 4), a.core.ID())
	send(append(msgpack.AppendUint(msgpack.AppendUint(claim, 5), 1<<61), 0)) // a has another epoch, and many changes more
	const epoch, per = 9, 10
	state := make([]byte, presence.MaxState)
	for began := time.Now(); b.Stats().Refused == 0; {
		require.Less(t, time.Since(began), 2*patience, "the liar reaches no limit: %+v", b.Stats())
		// A few frames at a time: the memory broker drops what exceeds a subscription's queue.
		next := (b.Stats().Members - 10) / per * per
		for first := next; first < next+50*per; first += per {
			send(append(entries(numbers(6, 1, 1, epoch, uint64(first)), first, per, state), 0))
		}
		for sent := time.Now(); b.Stats().Members < next+50*per && b.Stats().Refused == 0 && time.Since(sent) < time.Second; {
			time.Sleep(time.Millisecond)
		}
	}
	assert.Less(t, b.Stats().Members, presence.MaxBytes/presence.MaxState+10)
	assert.Len(t, b.Room("lobby").Missing, 1)
	assert.NotZero(t, b.Stats().Malformed)
	require.NoError(t, a.Join("lobby", presence.Member{ID: "still"}))
	require.Eventually(t, func() bool { return len(b.Room("lobby").Users()) == 9 }, patience, time.Millisecond)
	send(numbers(4, 1, 5, epoch, 0)) // a goodbye
	agree(t, 11, a, b)
}
