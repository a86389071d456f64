package adapter_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// In dialect V5 the sockets in all of the rooms are looked for, otherwise the selection travels.
func TestInAll(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d})
		ctx := t.Context()
		all := []*socket{
			nodes[0].add(t, "a", "red"), nodes[0].add(t, "b", "red", "blue"), nodes[1].add(t, "c", "red", "blue"),
			nodes[1].add(t, "d", "blue"), nodes[2].add(t, "e", "red", "blue", "green"),
		}
		ns := nodes[0].ns
		both := ns.All().InAll("red", "blue")
		for _, step := range []struct {
			event string
			op    adapter.Operator
			want  []string
		}{
			{"both", both, []string{"b", "c", "e"}},
			{"in another way", ns.To("red").InAll("blue"), []string{"b", "c", "e"}},
			{"in two ways", ns.To("a", "c", "d").InAll("red"), []string{"a", "c"}},
			{"except", both.Except("green"), []string{"b", "c"}},
			{"an id", both.InAll("c"), []string{"c"}},
			{"remote", both.Remote(), []string{"c", "e"}},
			{"local", both.Local(), []string{"b"}},
			{"nobody", both.InAll("nowhere"), []string{}},
			{"none", ns.To().InAll("red"), []string{}},
			{"all", ns.All().InAll(), []string{"a", "b", "c", "d", "e"}},
		} {
			ok(t, step.op.Emit(ctx, step.event))
			ok(t, ns.Emit(ctx, "end"))
			got := []string{}
			for _, s := range all {
				for range s.until(t, "end") {
					got = append(got, s.id)
				}
			}
			assert.Equal(t, step.want, got, step.event)
			sockets, err := step.op.FetchSockets(ctx)
			ok(t, err)
			assert.ElementsMatch(t, step.want, ids(sockets.List), step.event)
			clients, err := step.op.Clients(ctx)
			ok(t, err)
			assert.ElementsMatch(t, step.want, clients.IDs, step.event)
			count, err := step.op.Count(ctx)
			ok(t, err)
			assert.Equal(t, len(step.want), count.Total, step.event)
		}
		ok(t, both.SocketsJoin(ctx, "new"))
		ok(t, ns.All().InAll("new", "green").SocketsLeave(ctx, "red"))
		assert.Equal(t, []string{"b"}, localIDs(ns.All().InAll("new", "red")))
		assert.Equal(t, []string{"c"}, localIDs(nodes[1].ns.All().InAll("new", "red")))
		assert.Empty(t, localIDs(nodes[2].ns.All().InAll("new", "red")))
		assert.Equal(t, []string{"e"}, localIDs(nodes[2].ns.All().InAll("new")))
		assert.Empty(t, localIDs(ns.All().Remote()))
		ok(t, both.DisconnectSockets(ctx, true))
		for i, want := range []int{0, 1, 1, 0, 0} {
			assert.Len(t, all[i].ended, want, all[i].id)
		}
	})
}

func TestAcksOfSocketsInAllRooms(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 2, adapter.Options{})
		for i, n := range nodes {
			for _, rooms := range [][]string{{"red"}, {"red", "blue"}} {
				s := &talker{socket: newSocket(n.UID() + rooms[len(rooms)-1]), answer: func(_ *adapter.Packet, ack func(...any)) { ack(i) }}
				n.addSocket(t, s, rooms...)
			}
		}
		for _, arg := range []any{"text", []byte("binary")} { // as JSON, and as msgpack
			acks, err := nodes[0].ns.All().InAll("red", "blue").EmitWithAck(t.Context(), "question", arg)
			ok(t, err)
			assert.ElementsMatch(t, []any{int64(0), int64(1)}, acks.Values)
			assert.Equal(t, 2, acks.Expected)
		}
		acks, err := nodes[0].ns.To().EmitWithAck(t.Context(), "question")
		ok(t, err)
		assert.Zero(t, acks.Expected)
	})
}

func TestCount(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		for i := range 5 {
			nodes[i%2].add(t, string(rune('a'+i)), "room", []string{"red", "blue"}[i/3])
		}
		here, there := nodes[0].UID(), nodes[1].UID()
		ns := nodes[0].ns
		for _, step := range []struct {
			what string
			op   adapter.Operator
			want map[string]int
		}{
			{"all", ns.All(), map[string]int{here: 3, there: 2}},
			{"room", ns.To("room"), map[string]int{here: 3, there: 2}},
			{"an id", ns.To("b"), map[string]int{here: 0, there: 1}},
			{"except", ns.To("room").Except("blue"), map[string]int{here: 2, there: 1}},
			{"local", ns.To("red").Local(), map[string]int{here: 2}},
			{"remote", ns.To("red").Remote(), map[string]int{there: 1}},
		} {
			n, err := step.op.Count(t.Context())
			ok(t, err)
			total := 0
			for _, k := range step.want {
				total += k
			}
			assert.Equal(t, total, n.Total, step.what)
			assert.Equal(t, step.want, n.ByNode, step.what)
		}
	})
}

// An empty list of rooms selects no socket, with both dialects and an emitter.
func TestEmptyListOfRooms(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		ctx := t.Context()
		a, b := nodes[0].add(t, "a", "x"), nodes[1].add(t, "b", "x")
		e, err := adapter.NewEmitter(nodes[0].broker, &adapter.EmitterOptions{Dialect: d})
		ok(t, err)
		none := nodes[0].ns.To()
		selected := 7
		for _, o := range []adapter.Operator{none, none.Except("x"), none.Volatile(), none.Remote(), none.Local(), none.InAll("x"), none.CountLocal(&selected)} {
			ok(t, o.Emit(ctx, "lost"))
			ok(t, o.SocketsJoin(ctx, "y"))
			ok(t, o.SocketsLeave(ctx, "x"))
			ok(t, o.DisconnectSockets(ctx, true))
			sockets, err := o.FetchSockets(ctx)
			ok(t, err)
			assert.Empty(t, sockets.List)
			clients, err := o.Clients(ctx)
			ok(t, err)
			assert.Empty(t, clients.IDs)
		}
		assert.Zero(t, selected)
		ok(t, e.Of(chat).To().Emit(ctx, "lost"))
		if d == adapter.V6 {
			ok(t, e.Of(chat).To().SocketsJoin(ctx, "y"))
			ok(t, e.Of(chat).To().DisconnectSockets(ctx, true))
		}
		ok(t, nodes[0].ns.All().CountLocal(&selected).Emit(ctx, "end"))
		assert.Equal(t, 1, selected)
		assert.Empty(t, a.until(t, "end"))
		assert.Empty(t, b.until(t, "end"))
		assert.Empty(t, a.ended)
		assert.Empty(t, b.ended)
		assert.ElementsMatch(t, []string{"b", "x"}, roomsOf(nodes[1].ns, "b"))
	})
}

func TestEmitterInAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := fleet(t, 1, adapter.Options{})[0]
		a, b := n.add(t, "a", "red"), n.add(t, "b", "red", "blue")
		e, err := adapter.NewEmitter(n.broker, nil)
		ok(t, err)
		e = e.Of(chat)
		ok(t, e.All().InAll("red", "blue").Emit(t.Context(), "both"))
		ok(t, e.All().InAll("red", "blue").SocketsJoin(t.Context(), "new"))
		ok(t, e.Emit(t.Context(), "end"))
		assert.Empty(t, a.until(t, "end"))
		assert.Equal(t, []string{"both"}, b.until(t, "end"))
		assert.Equal(t, []string{"b"}, localIDs(n.ns.To("new")))
		old, err := adapter.NewEmitter(n.broker, &adapter.EmitterOptions{Namespace: chat, Dialect: adapter.V5})
		ok(t, err)
		require.ErrorContains(t, old.All().InAll("red", "blue").Emit(t.Context(), "x"), "Node.js servers cannot read it")
	})
}

// A socket stays out of the rooms of other sockets' ids.
func TestRoomsOfOtherSockets(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d, IsID: func(name string) bool { return len(name) == 1 }})
		ctx := t.Context()
		nodes[0].add(t, "a", "room")
		nodes[1].add(t, "b", "room")
		for what, err := range map[string]error{
			"local":  nodes[0].ns.Join(ctx, "a", "b"),
			"remote": nodes[0].ns.Join(ctx, "b", "a"),
			"all":    nodes[0].ns.To("room").SocketsJoin(ctx, "a"),
		} {
			assert.ErrorAs(t, err, new(*backplane.NameError), what)
		}
		ok(t, nodes[0].ns.Join(ctx, "b", "b", "long"))
		assert.ElementsMatch(t, []string{"b", "room", "long"}, roomsOf(nodes[1].ns, "b"))
	})
}

func localIDs(o adapter.Operator) (list []string) {
	for s := range o.LocalSockets() {
		list = append(list, s.ID())
	}
	return list
}
