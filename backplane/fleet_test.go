package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

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
		if err := f.ns[s.from].Broadcast(ctx, []byte(text), s.target); err != nil {
			t.Fatal(err)
		}
		for _, m := range s.want {
			if got := m.next(t); got != text {
				t.Fatalf("step %d: %s got %q", i, m.id, got)
			}
		}
	}
	// Everything went by one path in order, so a marker to all comes last.
	for n := range f.ns {
		if err := f.ns[n].Broadcast(ctx, []byte("marker"), backplane.All()); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*socket{a, b, c} {
			if got := m.next(t); got != "marker" {
				t.Fatalf("%s got %q instead of the marker", m.id, got)
			}
		}
	}

	members, err := f.ns[0].Members(ctx, backplane.To("blue"))
	if err != nil || len(members.List) != 2 || len(members.Answered) != 2 {
		t.Fatalf("Members: %+v, %v", members, err)
	}
	detail, err := f.ns[0].MembersDetail(ctx, backplane.To("b"))
	if err != nil || len(detail.List) != 1 || detail.List[0].Node != f.nodes[1].ID() ||
		string(detail.List[0].Data) != "I am b" || len(detail.List[0].Rooms) != 3 {
		t.Fatalf("MembersDetail: %+v, %v", detail, err)
	}
	rooms, err := f.ns[1].AllRooms(ctx)
	if err != nil || !slices.Equal(rooms.Rooms, []string{"a", "b", "blue", "c", "red"}) {
		t.Fatalf("AllRooms: %+v, %v", rooms, err)
	}
	if of, err := f.ns[0].RoomsOf(ctx, "c"); err != nil || !slices.Equal(of, []string{"c", "blue"}) {
		t.Fatalf("RoomsOf: %v, %v", of, err)
	}
	began := time.Now()
	if _, err := f.ns[0].RoomsOf(ctx, "nobody"); !errors.Is(err, backplane.ErrNoSuchMember) {
		t.Fatalf("RoomsOf nobody: %v", err)
	}
	if err := f.ns[0].Join(ctx, "nobody", "x"); !errors.Is(err, backplane.ErrNoSuchMember) {
		t.Fatalf("Join nobody: %v", err)
	}
	if d := time.Since(began); d > 900*time.Millisecond {
		t.Errorf("two answers “no such member” took %v", d)
	}
	if err := f.ns[0].Join(ctx, "c", "green", "white"); err != nil {
		t.Fatal(err)
	}
	if err := f.ns[0].Leave(ctx, "c", "green"); err != nil {
		t.Fatal(err)
	}
	if of, _ := f.ns[2].LocalRoomsOf("c"); !slices.Equal(of, []string{"c", "blue", "white"}) {
		t.Fatalf("c is in %v", of)
	}
	if err := f.ns[0].Disconnect(ctx, "b", true); err != nil || !<-b.gone {
		t.Fatal(err)
	}
	touched, err := f.ns[0].JoinAll(ctx, backplane.All().Except("blue"), "new")
	if err != nil || touched.Count != 1 {
		t.Fatalf("JoinAll: %+v, %v", touched, err)
	}
	touched, err = f.ns[0].LeaveAll(ctx, backplane.All(), "red")
	if err != nil || touched.Count != 3 {
		t.Fatalf("LeaveAll: %+v, %v", touched, err)
	}
	touched, err = f.ns[0].DisconnectAll(ctx, backplane.To("blue"), false)
	if err != nil || touched.Count != 2 || <-b.gone || <-c.gone {
		t.Fatalf("DisconnectAll: %+v, %v", touched, err)
	}
	replies, err := f.ns[0].Request(ctx, []byte("hi"))
	if err != nil || len(replies.List) != 2 {
		t.Fatalf("Request: %+v, %v", replies, err)
	}
	replies, err = f.ns[0].Request(ctx, []byte("fail"))
	if err != nil || len(replies.List) != 2 || replies.List[0].Err != "no" {
		t.Fatalf("Request fail: %+v, %v", replies, err)
	}
	if replies, err = f.ns[0].EventAck(ctx, nil); err != nil || len(replies.List) != 2 {
		t.Fatalf("EventAck: %+v, %v", replies, err)
	}
	acks, err := f.ns[0].BroadcastAck(ctx, []byte("?"), backplane.All(), 0)
	if err != nil || len(acks.Values) != 3 || acks.Expected != 3 {
		t.Fatalf("BroadcastAck: %+v, %v", acks, err)
	}
	if n, err := f.ns[0].Count(ctx); err != nil || n != 3 {
		t.Fatalf("Count: %d, %v", n, err)
	}
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
			if !errors.As(err, &partial) || len(m.List) != 1 || len(partial.Coverage.Missing) != 1 ||
				partial.Coverage.Missing[0].Node != f.nodes[2].ID() || !errors.Is(partial.Coverage.Missing[0].Reason, reason) {
				t.Fatalf("Members: %+v, %v", m, err)
			}
			t.Log(err)
			began := time.Now()
			_, err = f.ns[0].Members(t.Context(), backplane.All())
			t.Log(time.Since(began), err)
			if d := time.Since(began); d > 250*time.Millisecond {
				t.Errorf("the second question waited for the missing node, %v: %v", d, err)
			}
		})
	}
}
