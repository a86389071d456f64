package adapter_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

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
		ok(t, nodes[0].ns.ServerSideEmit(t.Context(), "nobody listens"))
		ok(t, nodes[0].ns.ServerSideEmit(t.Context(), "hello", 1, map[string]any{"two": "deux"}, []byte{3}))
		for range 2 {
			e := <-got
			var one int
			var two struct{ Two string }
			var three []byte
			ok(t, e.Bind(&one, &two, &three))
			if e.Event != "hello" || e.From != nodes[0].UID() || one != 1 || two.Two != "deux" || !slices.Equal(three, []byte{3}) {
				t.Errorf("got %+v", e)
			}
			if e.WantsAck() || !errors.Is(e.Ack(1), adapter.ErrAcknowledged) {
				t.Error("an answer was wanted")
			}
		}
		// Not to itself: a question brings two answers, and no third event came before.
		_, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "hello")
		var partial *backplane.PartialError
		if !errors.As(err, &partial) || len(partial.Coverage.Missing) != 2 {
			t.Errorf("nobody answered: %v", err)
		}
		if len(got) != 2 {
			t.Errorf("%d events, want 2", len(got))
		}
	})
}

func TestServerSideEmitWithAck(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{})
	for i, n := range nodes {
		_, err := n.ns.OnServerSideEmit("ask", func(_ context.Context, e *adapter.ServerEvent) {
			var arg *adapter.ArgumentError
			if err := e.Ack(func() {}); !errors.As(err, &arg) {
				t.Errorf("unencodable: %v", err)
			}
			if i == 1 {
				ok(t, e.Ack(map[string]any{"echo": e.Args}, "does not travel"))
			} else {
				ok(t, e.Ack())
			}
			if err := e.Ack(2); !errors.Is(err, adapter.ErrAcknowledged) {
				t.Errorf("second answer: %v", err)
			}
		})
		ok(t, err)
	}
	replies, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "ask", "why")
	ok(t, err)
	if len(replies.List) != 2 {
		t.Fatalf("got %+v", replies)
	}
	for _, r := range replies.List {
		switch r.Node {
		case nodes[1].UID():
			var answer struct{ Echo []string }
			ok(t, r.Bind(&answer))
			equal(t, "echo", answer.Echo, []string{"why"})
		case nodes[2].UID():
			if r.Data != nil {
				t.Errorf("got %s", r.Data)
			}
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
			if err := nodes[0].ns.ServerSideEmit(t.Context(), event); !errors.As(err, &reserved) {
				t.Errorf("%s: %v", event, err)
			}
			if _, err := nodes[0].ns.OnServerSideEmit(event, nil); !errors.As(err, &reserved) || reserved.What != "event" {
				t.Errorf("%s: %v", event, err)
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
			if got := string(replies.List[0].Data); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			stop()
		}
		var arg *adapter.ArgumentError
		if err := nodes[0].ns.ServerSideEmit(t.Context(), "x", 1, make(chan int)); !errors.As(err, &arg) || arg.Index != 1 {
			t.Errorf("got %v", err)
		}
	})
}

// A handler that panics does not keep the others from being called. If none of them has
// answered, the node does.
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
			if called != 3 || len(replies.List) != 1 || (string(replies.List[0].Data) == `"fine"`) != answers || (replies.List[0].Err == nil) != answers {
				t.Errorf("%d handlers were called, got %+v", called, replies)
			}
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

// A handler that panics is reported, and the node answers the next event.
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
		if string(replies.List[0].Data) != `"fine"` {
			t.Errorf("got %+v", replies)
		}
		eventually(t, "reported", func() bool {
			return slices.ContainsFunc(nodes[1].errors.all(), func(err error) bool {
				var p *backplane.PanicError
				return errors.As(err, &p) && p.Value == "boom"
			})
		})
	})
}

// A server without a handler for the event answers at once, without a value.
func TestServerSideEmitWithoutHandler(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{RequestsTimeout: time.Minute})
	_, err := nodes[1].ns.OnServerSideEmit("ask", func(_ context.Context, e *adapter.ServerEvent) { ok(t, e.Ack("I know")) })
	ok(t, err)
	replies, err := nodes[0].ns.ServerSideEmitWithAck(t.Context(), "ask")
	ok(t, err)
	slices.SortFunc(replies.List, func(a, b adapter.Reply) int { return len(a.Data) - len(b.Data) })
	if len(replies.List) != 2 || replies.List[0].Data != nil || string(replies.List[1].Data) != `"I know"` {
		t.Errorf("replies %+v", replies)
	}
}
