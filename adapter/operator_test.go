package adapter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

func TestEmitReachesTheSelected(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d})
		ctx := t.Context()
		a := nodes[0].add(t, "a", "red")
		b := nodes[1].add(t, "b", "red", "blue")
		c := nodes[2].add(t, "c", "blue")
		red := nodes[0].ns.To("red")
		for _, step := range []struct {
			event string
			op    adapter.Operator
		}{
			{"all", nodes[0].ns.All()},
			{"red", red},
			{"in blue", nodes[0].ns.To("blue")},
			{"red and blue", red.To("blue")},
			{"red but b", red.Except("b")},
			{"all but blue", nodes[0].ns.All().Except("blue")},
			{"here", nodes[0].ns.All().Local()},
			{"own id", nodes[0].ns.To("c")},
		} {
			ok(t, step.op.Emit(ctx, step.event))
		}
		ok(t, nodes[0].ns.Emit(ctx, "end"))
		require.Equal(t, []string{"all", "red", "red and blue", "red but b", "all but blue", "here"}, a.until(t, "end"), "a")
		require.Equal(t, []string{"all", "red", "in blue", "red and blue"}, b.until(t, "end"), "b")
		require.Equal(t, []string{"all", "in blue", "red and blue", "own id"}, c.until(t, "end"), "c")
	})
}

func TestOperatorsDoNotShareMemory(t *testing.T) {
	n := fleet(t, 1, adapter.Options{})[0]
	a, b := n.add(t, "a", "1", "2"), n.add(t, "b", "3")
	// Room to grow, so that a careless append would write into base's array.
	rooms := make([]string, 1, 8)
	rooms[0] = "0"
	base := n.ns.To(rooms...).To("x", "y", "z").To("w")
	toA, toB := base.To("1"), base.To("3")
	rooms[0] = "3"
	ok(t, toA.Emit(t.Context(), "for a"))
	ok(t, toB.Emit(t.Context(), "for b"))
	ok(t, base.Emit(t.Context(), "for no socket"))
	spare := n.ns.All().Except("u", "v").Except("w").Except("x", "y")
	exceptA, exceptB := spare.Except("a"), spare.Except("b")
	ok(t, exceptB.Emit(t.Context(), "not b"))
	ok(t, exceptA.Emit(t.Context(), "not a"))
	ok(t, n.ns.Emit(t.Context(), "end"))
	require.Equal(t, []string{"for a", "not b"}, a.until(t, "end"), "a")
	require.Equal(t, []string{"for b", "not a"}, b.until(t, "end"), "b")
}

func TestFlagsAndOriginTravel(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d, Name: "eu-1"})
		sockets := []*socket{nodes[0].add(t, "a"), nodes[1].add(t, "b")}
		ok(t, nodes[0].ns.All().Volatile().Compress(false).Emit(t.Context(), "x"))
		ok(t, nodes[0].ns.All().Compress(false).Compress(true).Emit(t.Context(), "y"))
		for _, s := range sockets {
			p := s.next(t)
			if assert.True(t, p.Volatile(), "%s: volatile", s.id) {
				assert.False(t, p.Compress(), "%s: volatile", s.id)
			}
			assert.Equal(t, nodes[0].UID(), p.Origin(), "%s: origin", s.id)
			assert.Equal(t, chat, p.Namespace(), "%s: origin", s.id)
			p = s.next(t)
			if assert.False(t, p.Volatile(), "%s: volatile", s.id) {
				assert.True(t, p.Compress(), "%s: volatile", s.id)
			}
		}
	})
}

func TestArgumentsArriveAsSent(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	here, there := nodes[0].add(t, "here"), nodes[1].add(t, "there")
	when := time.Date(2024, 2, 29, 12, 30, 15, 123e6, time.UTC)
	type point struct {
		X int `json:"x"`
		Y int `json:"y,omitempty"`
	}
	args := []any{nil, true, 1, -5, 1.5, uint64(1) << 63, "é😀", []byte{1, 2, 3}, when, []string{"a"}, map[string]any{"k": []byte{9}}, point{X: 1}}
	want := []any{nil, true, int64(1), int64(-5), 1.5, uint64(1) << 63, "é😀", []byte{1, 2, 3}, when, []any{"a"}, map[string]any{"k": []byte{9}}, map[string]any{"x": int64(1)}}
	ok(t, nodes[0].ns.Emit(t.Context(), "everything", args...))
	for _, s := range []*socket{here, there} {
		p := s.next(t)
		assert.Equal(t, "everything", p.Event(), s.id)
		assert.Equal(t, want, p.Args(), s.id)
	}
}

func TestOnePacketForAllSockets(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	var pairs [][2]*socket
	for _, n := range nodes {
		pairs = append(pairs, [2]*socket{n.add(t, "a"+n.UID()), n.add(t, "b"+n.UID())})
	}
	ok(t, nodes[0].ns.Emit(t.Context(), "x", 1))
	for _, pair := range pairs {
		pa, pb := pair[0].next(t), pair[1].next(t)
		assert.Same(t, pb, pa, "two packets")
		fa, fb := pa.Frames(), pb.Frames()
		assert.Same(t, &fb.Text[0], &fa.Text[0], "encoded or decoded twice")
		assert.Same(t, &pb.Args()[0], &pa.Args()[0], "encoded or decoded twice")
	}
}

// A sender may use its arguments' memory again as soon as Emit has returned, and
// later emits use the same buffers: packets that are kept must not change.
func TestKeptPacketsDoNotChange(t *testing.T) {
	n := fleet(t, 1, adapter.Options{})[0]
	s := n.add(t, "s")
	data := []byte("first")
	ok(t, n.ns.Emit(t.Context(), "a", data))
	copy(data, "XXXXX")
	ok(t, n.ns.Emit(t.Context(), "b", []byte("other")))
	p := s.next(t)
	require.Equal(t, "first", string(p.Args()[0].([]byte)))
}

func TestBadEmits(t *testing.T) {
	n := fleet(t, 1, adapter.Options{})[0]
	s := n.add(t, "s")
	ctx := t.Context()
	for _, event := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		var reserved *backplane.NameError
		err := n.ns.Emit(ctx, event)
		if assert.ErrorAs(t, err, &reserved, event) {
			assert.Equal(t, "event", reserved.What, event)
			assert.Equal(t, event, reserved.Name, event)
		}
	}
	var arg *adapter.ArgumentError
	err := n.ns.Emit(ctx, "x", 1, func() {})
	require.ErrorAs(t, err, &arg)
	assert.Equal(t, 1, arg.Index, "function")
	_, err = n.ns.All().EmitWithAck(ctx, "x", make(chan int))
	require.ErrorAs(t, err, &arg)
	assert.Zero(t, arg.Index, "channel")
	var name *backplane.NameError
	assert.ErrorAs(t, n.ns.Emit(ctx, "\xff"), &name, "event")
	assert.ErrorAs(t, n.ns.To("\xff").Emit(ctx, "x"), &name, "room")
	assert.Error(t, (adapter.Operator{}).Emit(ctx, "x"), "zero operator: no error")
	ok(t, n.ns.Emit(ctx, "end"))
	require.Empty(t, s.until(t, "end"), "delivered")
}
