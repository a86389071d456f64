package adapter_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/msgpack"
)

func nested(t testing.TB, levels int) (v any) {
	t.Helper()
	ok(t, json.Unmarshal([]byte(strings.Repeat("[", levels)+strings.Repeat("]", levels)), &v))
	return v
}

func levels(v any) (n int) {
	for {
		list, is := v.([]any)
		switch {
		case !is:
			return n
		case len(list) == 0:
			return n + 1
		}
		v, n = list[0], n+1
	}
}

// Every value that can be sent can be read, in any place. A value that is nested one level
// deeper is refused by the call that it was passed to, and no call waits for it.
func TestNesting(t *testing.T) {
	most, more := nested(t, msgpack.ValueDepth), nested(t, msgpack.ValueDepth+1)
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		var give any
		nodes := fleet(t, 2, adapter.Options{Dialect: d, CustomHook: func(_ context.Context, _ *adapter.Namespace, data json.RawMessage) (any, error) {
			var v any
			ok(t, json.Unmarshal(data, &v))
			if levels(v) == 0 {
				return give, nil
			}
			return levels(v), nil
		}})
		ns, ctx := nodes[0].ns, t.Context()
		there := nodes[1].add(t, "there")
		refused := func(what string, err error) {
			t.Helper()
			var arg *adapter.ArgumentError
			assert.ErrorAs(t, err, &arg, "%s, a level more", what)
		}
		ok(t, ns.Emit(ctx, "x", "flat", most))
		p := there.next(t)
		assert.Equal(t, msgpack.ValueDepth, levels(p.Args()[1]), "arrived: %.100v", p.Args())
		assert.NotNil(t, p.Frames().Text, "arrived: %.100v", p.Args())
		refused("Emit", ns.Emit(ctx, "x", more))

		replies, err := ns.CustomRequest(ctx, most)
		ok(t, err)
		for _, r := range replies.List {
			var n int
			ok(t, r.Bind(&n))
			assert.Equal(t, msgpack.ValueDepth, n, "%s levels", r.Node)
		}
		_, err = ns.CustomRequest(ctx, more)
		refused("CustomRequest", err)
		give = most
		replies, err = ns.CustomRequest(ctx, nil)
		ok(t, err)
		for _, r := range replies.List {
			var v any
			ok(t, r.Bind(&v))
			assert.Equal(t, msgpack.ValueDepth, levels(v), "levels of the response of %s", r.Node)
		}
		give = more
		began := time.Now()
		replies, err = ns.CustomRequest(ctx, nil)
		ok(t, err)
		for _, r := range replies.List {
			assert.Contains(t, r.Err, "nested too deep", "%s responded %.100s", r.Node, r.Data)
		}
		assert.Len(t, replies.List, 2)
		assert.LessOrEqual(t, time.Since(began), 900*time.Millisecond)
		if d == adapter.V5 {
			return
		}

		client := &talker{socket: newSocket("client"), answer: func(p *adapter.Packet, ack func(args ...any)) {
			ack(p.Args()[0])
		}}
		nodes[1].addSocket(t, client)
		acks, err := ns.To("client").EmitWithAck(ctx, "x", most)
		ok(t, err)
		assert.Equal(t, msgpack.ValueDepth, levels(acks.Values[0]), "acknowledged with levels")
		_, err = ns.All().EmitWithAck(ctx, "x", more)
		refused("EmitWithAck", err)

		_, err = nodes[1].ns.OnServerSideEmit("ask", func(_ context.Context, e *adapter.ServerEvent) {
			refused("Ack", e.Ack(more))
			ok(t, e.Ack(e.Args[0]))
		})
		ok(t, err)
		replies, err = ns.ServerSideEmitWithAck(ctx, "ask", most)
		ok(t, err)
		var v any
		ok(t, replies.List[0].Bind(&v))
		assert.Equal(t, msgpack.ValueDepth, levels(v), "levels of the response")
		refused("ServerSideEmit", ns.ServerSideEmit(ctx, "ask", more))
		for _, n := range nodes {
			for _, err := range n.errors.all() {
				assert.ErrorContains(t, err, "custom hook", "reported %v", err)
			}
		}
	})
}
