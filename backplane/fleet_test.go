package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

func TestFleet(t *testing.T) {
	f := newFleet(t, 3, backplane.Options{}, func(i int) *nsOptions {
		return &nsOptions{
			OnRequest: func(_ context.Context, from string, p []byte) ([]byte, error) {
				if string(p) == "fail" {
					return nil, errors.New("no")
				}
				return fmt.Appendf(nil, "%d: %s", i, p), nil
			},
			OnEvent: func(_ context.Context, from string, p []byte, reply func([]byte)) {
				if reply != nil {
					reply([]byte("event"))
				}
			},
		}
	})
	ctx := t.Context()
	a, b, c := f.socket(0, "a", "red"), f.socket(1, "b", "red", "blue"), f.socket(2, "c", "blue")

	steps := []struct {
		from   int
		target backplane.Target
		want   []*socket
	}{
		{0, backplane.All(), []*socket{a, b, c}},
		{0, backplane.To("red"), []*socket{a, b}},
		{2, backplane.To("red", "blue"), []*socket{a, b, c}},
		{1, backplane.To("red", "blue").Except("a"), []*socket{b, c}},
		{1, backplane.All().Except("blue"), []*socket{a}},
		{0, backplane.To("c"), []*socket{c}},
		{0, backplane.To("red").Local(), []*socket{a}},
		{0, backplane.All().Remote(), []*socket{b, c}},
	}
	for i, s := range steps {
		text := fmt.Sprint("step ", i)
		require.NoError(t, f.ns[s.from].Broadcast(ctx, []byte(text), s.target))
		for _, m := range s.want {
			require.Equal(t, text, m.next(t), "step %d: %s", i, m.id)
		}
	}
	// All messages took one path in order, so a marker to all members arrives last.
	for n := range f.ns {
		require.NoError(t, f.ns[n].Broadcast(ctx, []byte("marker"), backplane.All()))
		for _, m := range []*socket{a, b, c} {
			require.Equal(t, "marker", m.next(t), "%s instead of the marker", m.id)
		}
	}

	members, err := f.ns[0].Members(ctx, backplane.To("blue"))
	require.NoError(t, err, "Members: %+v", members)
	require.Len(t, members.List, 2, "Members: %+v", members)
	require.Len(t, members.Answered, 2, "Members: %+v", members)
	detail, err := f.ns[0].MembersDetail(ctx, backplane.To("b"))
	require.NoError(t, err, "MembersDetail: %+v", detail)
	require.Len(t, detail.List, 1, "MembersDetail: %+v", detail)
	require.Equal(t, f.nodes[1].ID(), detail.List[0].Node, "MembersDetail: %+v", detail)
	require.Equal(t, "I am b", string(detail.List[0].Data), "MembersDetail: %+v", detail)
	require.Len(t, detail.List[0].Rooms, 3, "MembersDetail: %+v", detail)
	rooms, err := f.ns[1].AllRooms(ctx)
	require.NoError(t, err, "AllRooms: %+v", rooms)
	require.Equal(t, []string{"a", "b", "blue", "c", "red"}, rooms.List, "AllRooms: %+v", rooms)
	if of, err := f.ns[0].RoomsOf(ctx, "c"); err != nil || !slices.Equal(of, []string{"c", "blue"}) {
		t.Fatalf("RoomsOf: %v, %v", of, err)
	}
	began := time.Now()
	if _, err := f.ns[0].RoomsOf(ctx, "unknown"); !errors.Is(err, backplane.ErrNoSuchMember) {
		t.Fatalf("RoomsOf an unknown member: %v", err)
	}
	require.ErrorIs(t, f.ns[0].Join(ctx, "unknown", "x"), backplane.ErrNoSuchMember, "Join an unknown member")
	assert.LessOrEqual(t, time.Since(began), 900*time.Millisecond, "two answers “no such member”")
	require.NoError(t, f.ns[0].Join(ctx, "c", "green", "white"))
	require.NoError(t, f.ns[0].Leave(ctx, "c", "green"))
	of, _ := f.ns[2].LocalRoomsOf("c")
	require.Equal(t, []string{"c", "blue", "white"}, of)
	if err := f.ns[0].Disconnect(ctx, "b", true); err != nil || !<-b.gone {
		t.Fatal(err)
	}
	touched, err := f.ns[0].JoinAll(ctx, backplane.All().Except("blue"), "new")
	require.NoError(t, err, "JoinAll: %+v", touched)
	require.Equal(t, 1, touched.Total, "JoinAll: %+v", touched)
	touched, err = f.ns[0].LeaveAll(ctx, backplane.All(), "red")
	require.NoError(t, err, "LeaveAll: %+v", touched)
	require.Equal(t, 3, touched.Total, "LeaveAll: %+v", touched)
	touched, err = f.ns[0].DisconnectAll(ctx, backplane.To("blue"), false)
	require.NoError(t, err, "DisconnectAll: %+v", touched)
	require.Equal(t, 2, touched.Total, "DisconnectAll: %+v", touched)
	require.False(t, <-b.gone, "DisconnectAll: %+v", touched)
	require.False(t, <-c.gone, "DisconnectAll: %+v", touched)
	replies, err := f.ns[0].Request(ctx, []byte("hi"))
	require.NoError(t, err, "Request: %+v", replies)
	require.Len(t, replies.List, 2, "Request: %+v", replies)
	replies, err = f.ns[0].Request(ctx, []byte("fail"))
	require.NoError(t, err, "Request fail: %+v", replies)
	require.Len(t, replies.List, 2, "Request fail: %+v", replies)
	require.Equal(t, "no", replies.List[0].Err, "Request fail: %+v", replies)
	replies, err = f.ns[0].EventAck(ctx, nil)
	require.NoError(t, err, "EventAck: %+v", replies)
	require.Len(t, replies.List, 2, "EventAck: %+v", replies)
	acks, err := f.ns[0].BroadcastAck(ctx, []byte("?"), backplane.All(), 0)
	require.NoError(t, err, "BroadcastAck: %+v", acks)
	require.Len(t, acks.Values, 3, "BroadcastAck: %+v", acks)
	require.Equal(t, 3, acks.Expected, "BroadcastAck: %+v", acks)
	n, err := serversOf(ctx, f.ns[0])
	require.NoError(t, err)
	require.Equal(t, 3, n)
}

func TestNodeDies(t *testing.T) {
	for _, how := range []string{"killed", "frozen"} {
		t.Run(how, func(t *testing.T) {
			f := newFleet(t, 3, backplane.Options{RequestsTimeout: 300 * time.Millisecond, Heartbeat: 100 * time.Millisecond, PeerTimeout: 2 * time.Second}, nil)
			f.socket(1, "b")
			f.socket(2, "c")
			var reason error
			if how == "killed" {
				memorytest.Kill(f.brokers[2])
				reason = backplane.ErrPeerLost
			} else {
				memorytest.Freeze(f.brokers[2])
				defer memorytest.Thaw(f.brokers[2])
				reason = backplane.ErrNoResponse
			}
			m, err := f.ns[0].Members(t.Context(), backplane.All())
			var partial *backplane.PartialError
			require.ErrorAs(t, err, &partial, "Members: %+v", m)
			require.Len(t, m.List, 1, "Members: %+v", m)
			require.Len(t, partial.Coverage.Missing, 1, "Members: %+v", m)
			require.ErrorIs(t, partial.Coverage.Missing[0].Reason, reason, "Members: %+v", m)
			require.Equal(t, f.nodes[2].ID(), partial.Coverage.Missing[0].Node, "Members: %+v", m)
			t.Log(err)
			began := time.Now()
			_, err = f.ns[0].Members(t.Context(), backplane.All())
			t.Log(time.Since(began), err)
			d := time.Since(began)
			assert.LessOrEqual(t, d, 250*time.Millisecond, "the second question waited for the missing node, %v: %v", d, err)
		})
	}
}
