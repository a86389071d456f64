package backplane_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// pair is two nodes that know each other, with the same options.
func pair(t *testing.T, opts *backplane.NamespaceOptions) (here, there *backplane.Namespace, errors *errorLog) {
	t.Helper()
	bus, errors := memorybroker.NewBus(nil), new(errorLog)
	var list []*backplane.Namespace
	for range 2 {
		b := bus.Broker()
		node, err := backplane.New(b, &backplane.Options{OnError: errors.add})
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, node.Close(context.Background()))
			assert.NoError(t, b.Close(context.Background()))
		})
		ns, err := node.Namespace(t.Context(), chat, opts)
		require.NoError(t, err)
		list = append(list, ns)
	}
	_, err := list[0].Node().AwaitPeers(t.Context(), 1)
	require.NoError(t, err)
	return list[0], list[1], errors
}

// An empty list of rooms selects no member, in every operation: none of them reaches all members instead.
func TestEmptyListOfRooms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		here, there, _ := pair(t, nil)
		ctx := t.Context()
		a, b := newSocket("a"), newSocket("b")
		require.NoError(t, here.Add(ctx, a))
		require.NoError(t, there.Add(ctx, b))
		e, err := backplane.NewEmitter(here.Node().Broker(), nil)
		require.NoError(t, err)
		for name, none := range map[string]backplane.Target{
			"To": backplane.To(), "To of a list": backplane.To([]string{}...), "Except": backplane.To().Except("x"),
			"remote": backplane.To().Remote(), "local": backplane.To().Local(), "in all": backplane.To().InAll("a"),
		} {
			selected := 7
			assert.NoError(t, here.Broadcast(ctx, []byte("lost"), none.CountLocal(&selected)), name)
			assert.Zero(t, selected, name)
			members, err := here.Members(ctx, none)
			assert.NoError(t, err, name)
			assert.Empty(t, members.List, name)
			members, err = here.MembersDetail(ctx, none)
			assert.NoError(t, err, name)
			assert.Empty(t, members.List, name)
			for what, change := range map[string]func() (*backplane.Count, error){
				"JoinAll":       func() (*backplane.Count, error) { return here.JoinAll(ctx, none, "new") },
				"LeaveAll":      func() (*backplane.Count, error) { return here.LeaveAll(ctx, none, "a", "b") },
				"DisconnectAll": func() (*backplane.Count, error) { return here.DisconnectAll(ctx, none, true) },
			} {
				changed, err := change()
				assert.NoError(t, err, "%s: %s", name, what)
				assert.Zero(t, changed.Total, "%s: %s", name, what)
			}
			counted, err := here.Count(ctx, none)
			assert.NoError(t, err, name)
			assert.Zero(t, counted.Total, name)
			acks, err := here.BroadcastAck(ctx, []byte("lost"), none, time.Hour)
			assert.NoError(t, err, name)
			assert.Zero(t, acks.Expected, name)
			assert.Empty(t, slices.Collect(here.LocalMembers(none)), name)
			if name == "local" {
				continue
			}
			assert.NoError(t, e.Broadcast(ctx, chat, []byte("lost"), none), name)
			assert.NoError(t, e.JoinAll(ctx, chat, none, "new"), name)
			assert.NoError(t, e.LeaveAll(ctx, chat, none, "a"), name)
			assert.NoError(t, e.DisconnectAll(ctx, chat, none, true), name)
		}
		// It is still a call: names, contexts and closed nodes are refused.
		ended, cancel := context.WithCancel(ctx)
		cancel()
		assert.ErrorIs(t, here.Broadcast(ended, nil, backplane.To()), context.Canceled)
		assert.ErrorAs(t, here.Broadcast(ctx, nil, backplane.To().Except("\xff")), new(*backplane.NameError))
		assert.ErrorAs(t, here.Broadcast(ctx, nil, backplane.All().InAll("\xff")), new(*backplane.NameError))

		require.NoError(t, here.Broadcast(ctx, []byte("end"), backplane.All()))
		assert.Equal(t, "end", a.next(t))
		assert.Equal(t, "end", b.next(t))
		assert.Empty(t, a.gone)
		assert.Empty(t, b.gone)
		rooms, _ := there.LocalRoomsOf("b")
		assert.Equal(t, []string{"b"}, rooms)
	})
}

func TestLocalSelection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		here, there, _ := pair(t, nil)
		ctx := t.Context()
		for i, rooms := range [][]string{{"red"}, {"red", "blue"}, {"blue"}} {
			id := string(rune('a' + i))
			require.NoError(t, here.Add(ctx, newSocket(id)))
			require.NoError(t, here.Join(ctx, id, rooms...))
			require.NoError(t, there.Add(ctx, newSocket("far "+id)))
			require.NoError(t, there.Join(ctx, "far "+id, rooms...))
		}
		for _, step := range []struct {
			t    backplane.Target
			want []string
		}{
			{backplane.All(), []string{"a", "b", "c"}},
			{backplane.To("red"), []string{"a", "b"}},
			{backplane.All().InAll("red", "blue"), []string{"b"}},
			{backplane.To("a", "b").InAll("blue"), []string{"b"}},
			{backplane.All().InAll("red").Except("blue"), []string{"a"}},
			{backplane.To("red").Local(), []string{"a", "b"}},
			{backplane.All().InAll("red", "nowhere"), nil},
			{backplane.All().Remote(), nil},
		} {
			var got []string
			for m := range here.LocalMembers(step.t) {
				got = append(got, m.ID())
				here.Remove("unknown") // no lock is held
			}
			assert.ElementsMatch(t, step.want, got)
			n := -1
			require.NoError(t, here.Broadcast(ctx, []byte("x"), step.t.CountLocal(&n)))
			assert.Equal(t, len(step.want), n)
		}
		seen := 0
		for m := range here.LocalMembers(backplane.All()) {
			seen++
			for _, id := range []string{"a", "b", "c"} {
				if id != m.ID() {
					here.Remove(id)
				}
			}
		}
		assert.Equal(t, 1, seen, "removed members are passed over")
	})
}

// No member enters the room of another one's id if IsID knows ids, for every requester.
func TestRoomsOfOtherIDs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		here, there, reports := pair(t, &backplane.NamespaceOptions{IsID: func(name string) bool {
			if name == "panics" {
				panic("IsID")
			}
			return name[0] == '@'
		}})
		ctx := t.Context()
		a, b := newSocket("@a"), newSocket("@b")
		require.NoError(t, here.Add(ctx, a))
		require.NoError(t, there.Add(ctx, b))
		for what, err := range map[string]error{
			"own member":         here.Join(ctx, "@a", "ok", "@b"),
			"far member":         here.Join(ctx, "@b", "@a"),
			"selection":          failure(here.JoinAll(ctx, backplane.To("@a"), "@a")),
			"panic":              here.Join(ctx, "@a", "panics"),
			"an id of no member": here.Join(ctx, "@a", "@nobody"),
		} {
			assert.ErrorAs(t, err, new(*backplane.NameError), what)
		}
		settle()
		reported[*backplane.PanicError](t, reports)
		require.NoError(t, here.Join(ctx, "@a", "@a", "open"))
		require.NoError(t, here.Join(ctx, "@b", "@b", "open"))

		// An emitter, and a node without the option, cannot do it either.
		e, err := backplane.NewEmitter(here.Node().Broker(), nil)
		require.NoError(t, err)
		require.NoError(t, e.JoinAll(ctx, chat, backplane.All(), "@a"))
		settle()
		for _, err := range reports.take() {
			var op *backplane.OpError
			require.ErrorAs(t, err, &op)
			assert.ErrorAs(t, err, new(*backplane.NameError))
		}
		rooms, _ := there.LocalRoomsOf("@b")
		assert.ElementsMatch(t, []string{"@b", "open"}, rooms)
		rooms, _ = here.LocalRoomsOf("@a")
		assert.ElementsMatch(t, []string{"@a", "open"}, rooms)
	})
}

// A node without IsID gets the refusal of one that has it.
func TestRefusedRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := memorybroker.NewBus(nil)
		open := newNode(t, bus, "open")
		strict := newNodeWith(t, bus, "strict", &backplane.NamespaceOptions{IsID: func(name string) bool { return name == "a" || name == "b" }})
		_, err := open.Node().AwaitPeers(t.Context(), 1)
		require.NoError(t, err)
		require.NoError(t, strict.Add(t.Context(), newSocket("b")))
		err = open.Join(t.Context(), "b", "a")
		require.ErrorIs(t, err, backplane.ErrRefused)
		_, err = open.JoinAll(t.Context(), backplane.All(), "a")
		require.ErrorIs(t, err, backplane.ErrRefused)
		assert.ErrorContains(t, err, "another member's id")
		rooms, _ := strict.LocalRoomsOf("b")
		assert.Equal(t, []string{"b"}, rooms)
	})
}

func failure[T any](_ T, err error) error { return err }

func newNode(t *testing.T, bus *memorybroker.Bus, name string) *backplane.Namespace {
	return newNodeWith(t, bus, name, nil)
}

func newNodeWith(t *testing.T, bus *memorybroker.Bus, name string, opts *backplane.NamespaceOptions) *backplane.Namespace {
	t.Helper()
	b := bus.Broker()
	node, err := backplane.New(b, &backplane.Options{Name: name, OnError: func(error) {}})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, node.Close(context.Background()))
		assert.NoError(t, b.Close(context.Background()))
	})
	ns, err := node.Namespace(t.Context(), chat, opts)
	require.NoError(t, err)
	return ns
}
