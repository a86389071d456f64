package adapter_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

func TestServerSideEmit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 3, adapter.Options{})
		got := make(chan *adapter.ServerEvent, 16)
		for _, n := range nodes {
			_, err := n.ns.OnServerSideEmit("hello", func(_ context.Context, e *adapter.ServerEvent) { got <- e })
			ok(t, err)
		}
		ok(t, nodes[0].ns.ServerSideEmit(t.Context(), "no handler"))
		ok(t, nodes[0].ns.ServerSideEmit(t.Context(), "hello", 1, map[string]any{"two": "deux"}, []byte{3}))
		for range 2 {
			e := <-got
			var one int
			var two struct{ Two string }
			var three []byte
			ok(t, adapter.BindArgs(e.Args, &one, &two, &three))
			assert.Equal(t, "hello", e.Event, "got %+v", e)
			assert.Equal(t, nodes[0].UID(), e.From, "got %+v", e)
			assert.Equal(t, 1, one, "got %+v", e)
			assert.Equal(t, "deux", two.Two, "got %+v", e)
			assert.Equal(t, []byte{3}, three, "got %+v", e)
			if assert.False(t, e.WantsAck(), "WantsAck") {
				assert.ErrorIs(t, e.Ack(1), adapter.ErrAcknowledged, "WantsAck")
			}
		}
		// Not to itself: a request gets two responses, and no third event arrived before.
		_, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "hello")
		var partial *backplane.PartialError
		require.ErrorAs(t, err, &partial)
		assert.Len(t, partial.Coverage.Missing, 2, "no server responded")
		assert.Len(t, got, 2, "events")
	})
}

func TestServerSideEmitWithAck(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{})
	for i, n := range nodes {
		_, err := n.ns.OnServerSideEmit("ask", func(_ context.Context, e *adapter.ServerEvent) {
			var arg *adapter.ArgumentError
			assert.ErrorAs(t, e.Ack(func() {}), &arg, "unencodable")
			if i == 1 {
				ok(t, e.Ack(map[string]any{"echo": e.Args}, "does not travel"))
			} else {
				ok(t, e.Ack())
			}
			assert.ErrorIs(t, e.Ack(2), adapter.ErrAcknowledged, "second response")
		})
		ok(t, err)
	}
	replies, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "ask", "why")
	ok(t, err)
	require.Len(t, replies.List, 2, "got %+v", replies)
	for _, r := range replies.List {
		switch r.Node {
		case nodes[1].UID():
			var answer struct{ Echo []string }
			ok(t, r.Bind(&answer))
			require.Equal(t, []string{"why"}, answer.Echo, "echo")
		case nodes[2].UID():
			assert.Nil(t, r.Data)
		default:
			t.Errorf("reply of %q", r.Node)
		}
	}
}

func TestServerSideHandlers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 2, adapter.Options{RequestsTimeout: 100 * time.Millisecond})
		for _, event := range []string{"connect", "connection", "new_namespace"} {
			var reserved *backplane.NameError
			assert.ErrorAs(t, nodes[0].ns.ServerSideEmit(t.Context(), event), &reserved, event)
			_, err := nodes[0].ns.OnServerSideEmit(event, nil)
			if assert.ErrorAs(t, err, &reserved, event) {
				assert.Equal(t, "event", reserved.What, event)
			}
		}
		var name *backplane.NameError
		if _, err := nodes[0].ns.OnServerSideEmit("x", nil); !errors.As(err, &name) || name.Name != "x" {
			t.Errorf("no handler: %v", err)
		}
		var order []int
		stop, err := nodes[1].ns.OnServerSideEmit("x", func(context.Context, *adapter.ServerEvent) { order = append(order, 1) })
		ok(t, err)
		_, err = nodes[1].ns.OnServerSideEmit("x", func(_ context.Context, e *adapter.ServerEvent) {
			order = append(order, 2)
			ok(t, e.Ack(len(order)))
		})
		ok(t, err)
		for _, want := range []string{"2", "3"} {
			replies, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "x")
			ok(t, err)
			assert.Equal(t, want, string(replies.List[0].Data))
			stop()
		}
		var arg *adapter.ArgumentError
		err = nodes[0].ns.ServerSideEmit(t.Context(), "x", 1, make(chan int))
		require.ErrorAs(t, err, &arg)
		assert.Equal(t, 1, arg.Index)
	})
}

// If a handler panics the other handlers are called. If none of them has responded, the node
// responds.
func TestPanickingHandlerAmongOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, answers := range []bool{true, false} {
			nodes := fleet(t, 2, adapter.Options{})
			called := 0
			for i := range 3 {
				_, err := nodes[1].ns.OnServerSideEmit("x", func(_ context.Context, e *adapter.ServerEvent) {
					called++
					if i == 0 {
						panic("boom")
					}
					if i == 2 && answers {
						ok(t, e.Ack("fine"))
					}
				})
				ok(t, err)
			}
			began := time.Now()
			replies, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "x")
			ok(t, err)
			assert.Equal(t, 3, called, "%+v", replies)
			require.Len(t, replies.List, 1, "%+v", replies)
			assert.Equal(t, answers, string(replies.List[0].Data) == `"fine"`, "%+v", replies)
			assert.Equal(t, answers, replies.List[0].Err == "", "%+v", replies)
			if d := time.Since(began); d > 0 {
				t.Errorf("took %v", d)
			}
			eventually(t, "reported", func() bool {
				var p *backplane.PanicError
				list := nodes[1].errors.all()
				return len(list) == 1 && errors.As(list[0], &p) && p.Value == "boom"
			})
		}
	})
}

// A handler that panics is reported, and the node responds to the next event.
func TestPanickingHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 2, adapter.Options{RequestsTimeout: 200 * time.Millisecond})
		_, err := nodes[1].ns.OnServerSideEmit("x", func(_ context.Context, e *adapter.ServerEvent) {
			if len(e.Args) > 0 {
				panic("boom")
			}
			ok(t, e.Ack("fine"))
		})
		ok(t, err)
		if _, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "x", "bad"); err != nil {
			t.Logf("the panicking one: %v", err)
		}
		replies, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "x")
		ok(t, err)
		assert.Equal(t, `"fine"`, string(replies.List[0].Data), "got %+v", replies)
		eventually(t, "reported", func() bool {
			return slices.ContainsFunc(nodes[1].errors.all(), func(err error) bool {
				var p *backplane.PanicError
				return errors.As(err, &p) && p.Value == "boom"
			})
		})
	})
}

// A server without a handler for the event responds at once, without a value.
func TestServerSideEmitWithoutHandler(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{RequestsTimeout: time.Minute})
	_, err := nodes[1].ns.OnServerSideEmit("ask", func(_ context.Context, e *adapter.ServerEvent) { ok(t, e.Ack("I know")) })
	ok(t, err)
	replies, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "ask")
	ok(t, err)
	slices.SortFunc(replies.List, func(a, b adapter.Reply) int { return len(a.Data) - len(b.Data) })
	require.Len(t, replies.List, 2)
	require.Nil(t, replies.List[0].Data)
	assert.Equal(t, `"I know"`, string(replies.List[1].Data))
}
