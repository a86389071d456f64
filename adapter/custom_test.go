package adapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

func TestCustomRequest(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d, CustomHook: func(_ context.Context, ns *adapter.Namespace, data json.RawMessage) (any, error) {
			return map[string]any{"uid": ns.Server().UID(), "got": data}, nil
		}})
		replies, err := nodes[0].ns.CustomRequest(t.Context(), map[string]any{"question": "q"})
		ok(t, err)
		require.Len(t, replies.List, 3)
		require.Equal(t, nodes[0].UID(), replies.List[0].Node)
		require.Len(t, replies.Answered, 2)
		seen := map[string]bool{}
		for _, r := range replies.List {
			var answer struct {
				UID string
				Got struct{ Question string }
			}
			ok(t, r.Bind(&answer))
			assert.Equal(t, r.Node, answer.UID, "got %+v", answer)
			assert.Equal(t, "q", answer.Got.Question, "got %+v", answer)
			assert.False(t, seen[r.Node], "got %+v", answer)
			seen[r.Node] = true
		}
	})
}

func TestCustomHooks(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d})
		nodes[0].ns.OnCustomRequest(func(context.Context, *adapter.Namespace, json.RawMessage) (any, error) { panic("ouch") })
		nodes[1].ns.OnCustomRequest(func(_ context.Context, _ *adapter.Namespace, data json.RawMessage) (any, error) {
			return nil, fmt.Errorf("no response to %s", data)
		})
		replies, err := nodes[0].ns.CustomRequest(t.Context(), nil)
		ok(t, err)
		require.Len(t, replies.List, 3, "got %+v", replies)
		for _, r := range replies.List {
			switch r.Node {
			case nodes[0].UID():
				assert.Contains(t, r.Err, "panicked", "panic: %+v", r)
			case nodes[1].UID():
				assert.Equal(t, "no response to null", r.Err, "error: %+v", r)
				assert.ErrorContains(t, r.Bind(new(int)), r.Err, "error: %+v", r)
			case nodes[2].UID(): // no hook at all
				if assert.Empty(t, r.Err) {
					assert.Equal(t, "null", string(r.Data), "no hook")
				}
			}
		}
		var arg *adapter.ArgumentError
		_, err = nodes[0].ns.CustomRequest(t.Context(), func() {})
		assert.ErrorAs(t, err, &arg, "unencodable")
	})
}

// A hook that does not return delays neither another node nor its own server.
func TestCustomHookThatBlocks(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d, RequestsTimeout: 200 * time.Millisecond})
		release := make(chan struct{})
		defer close(release)
		nodes[0].ns.OnCustomRequest(func(context.Context, *adapter.Namespace, json.RawMessage) (any, error) {
			<-release
			return nil, nil
		})
		for i, asker := range nodes {
			replies, err := asker.ns.CustomRequest(t.Context(), nil)
			var partial *backplane.PartialError
			require.ErrorAs(t, err, &partial, "requests of node %d: %+v", i, replies)
			require.Len(t, replies.List, 1, "requests of node %d: %+v", i, replies)
			require.Equal(t, nodes[1].UID(), replies.List[0].Node, "requests of node %d: %+v", i, replies)
			for _, fleet := range []backplane.Coverage{partial.Coverage, replies.Coverage} {
				if assert.Len(t, fleet.Missing, 1, "requests of node %d: missing", i) {
					assert.Equal(t, nodes[0].UID(), fleet.Missing[0].Node, "requests of node %d: missing", i)
					assert.ErrorIs(t, fleet.Missing[0].Reason, backplane.ErrNoResponse, "requests of node %d: missing", i)
				}
			}
		}
	})
}
