package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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
		if len(replies.List) != 3 || replies.List[0].Node != nodes[0].UID() || len(replies.Answered) != 2 {
			t.Fatalf("got %+v", replies)
		}
		seen := map[string]bool{}
		for _, r := range replies.List {
			var answer struct {
				UID string
				Got struct{ Question string }
			}
			ok(t, r.Bind(&answer))
			if answer.UID != r.Node || answer.Got.Question != "q" || seen[r.Node] {
				t.Errorf("got %+v of %s", answer, r.Node)
			}
			seen[r.Node] = true
		}
	})
}

func TestCustomHooks(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d})
		nodes[0].ns.OnCustomRequest(func(context.Context, *adapter.Namespace, json.RawMessage) (any, error) { panic("ouch") })
		nodes[1].ns.OnCustomRequest(func(_ context.Context, _ *adapter.Namespace, data json.RawMessage) (any, error) {
			return nil, fmt.Errorf("no answer to %s", data)
		})
		replies, err := nodes[0].ns.CustomRequest(t.Context(), nil)
		ok(t, err)
		if len(replies.List) != 3 {
			t.Fatalf("got %+v", replies)
		}
		for _, r := range replies.List {
			var remote *adapter.RemoteError
			switch failed := errors.As(r.Err, &remote); r.Node {
			case nodes[0].UID():
				if !failed || !strings.Contains(remote.Message, "panicked") {
					t.Errorf("panic: %+v", r)
				}
			case nodes[1].UID():
				if !failed || remote.Message != "no answer to null" || remote.Node != r.Node || r.Bind(new(int)) == nil {
					t.Errorf("error: %+v", r)
				}
			case nodes[2].UID(): // no hook at all
				if r.Err != nil || string(r.Data) != "null" {
					t.Errorf("no hook: %+v", r)
				}
			}
		}
		var arg *adapter.ArgumentError
		if _, err := nodes[0].ns.CustomRequest(t.Context(), func() {}); !errors.As(err, &arg) {
			t.Errorf("unencodable: %v", err)
		}
	})
}

// A hook that does not return holds up nobody, its own server neither.
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
			if !errors.As(err, &partial) || len(replies.List) != 1 || replies.List[0].Node != nodes[1].UID() {
				t.Fatalf("node %d asks: %+v, %v", i, replies, err)
			}
			for _, fleet := range []backplane.Coverage{partial.Coverage, replies.Coverage} {
				if len(fleet.Missing) != 1 || fleet.Missing[0].Node != nodes[0].UID() || !errors.Is(fleet.Missing[0].Reason, backplane.ErrNoResponse) {
					t.Errorf("node %d asks: missing %+v", i, fleet.Missing)
				}
			}
		}
	})
}
