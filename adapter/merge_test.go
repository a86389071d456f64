package adapter_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// Answers to requests over several links say which link each node and each missing part
// belongs to, whatever was asked.
func TestAnswersNameTheirLinks(t *testing.T) {
	for name, ask := range map[string]func(ctx context.Context, ns *adapter.Namespace) (backplane.Coverage, error){
		"Clients": func(ctx context.Context, ns *adapter.Namespace) (backplane.Coverage, error) {
			c, err := ns.Clients(ctx)
			return c.Coverage, err
		},
		"AllRooms": func(ctx context.Context, ns *adapter.Namespace) (backplane.Coverage, error) {
			r, err := ns.AllRooms(ctx)
			return r.Coverage, err
		},
		"FetchSockets": func(ctx context.Context, ns *adapter.Namespace) (backplane.Coverage, error) {
			s, err := ns.To("x").FetchSockets(ctx)
			return s.Coverage, err
		},
		"CustomRequest": func(ctx context.Context, ns *adapter.Namespace) (backplane.Coverage, error) {
			r, err := ns.CustomRequest(ctx, 1)
			return r.Coverage, err
		},
		"SocketsJoin": func(ctx context.Context, ns *adapter.Namespace) (f backplane.Coverage, err error) {
			err = ns.To("x").SocketsJoin(ctx, "y")
			if partial, ok := errors.AsType[*backplane.PartialError](err); ok {
				f = partial.Coverage
			}
			return f, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				both, new, old := newGenerations().mixed(t, adapter.Options{RequestsTimeout: 100 * time.Millisecond})
				for i, n := range []*node{both[0], both[1], new, old} {
					n.add(t, string(rune('a'+i)), "x")
				}
				asker, peer := both[0].ns, both[1].UID()
				part := func(f backplane.Coverage, prefix string) backplane.LinkCoverage {
					t.Helper()
					i := slices.IndexFunc(f.Links, func(l backplane.LinkCoverage) bool { return l.Prefix == prefix })
					if i < 0 || len(f.Links) != 2 {
						t.Fatalf("no link %s in %+v", prefix, f.Links)
					}
					return f.Links[i]
				}
				answered := func(f backplane.Coverage, prefix string, want ...string) {
					t.Helper()
					got := part(f, prefix)
					slices.Sort(got.Answered)
					slices.Sort(want)
					equal(t, prefix, got.Answered, want)
					if len(got.Missing) > 0 || got.Err != nil {
						t.Errorf("%s: %+v", prefix, got)
					}
				}
				if name != "SocketsJoin" {
					f, err := ask(t.Context(), asker)
					ok(t, err)
					answered(f, "v6", peer, new.UID())
					answered(f, "v5", peer, old.UID())
				}
				broker := old.broker
				memorytest.Freeze(broker)
				defer memorytest.Thaw(broker)
				f, err := ask(t.Context(), asker)
				partial, is := errors.AsType[*backplane.PartialError](err)
				if !is || len(f.Missing) != 1 || f.Missing[0].Node != old.UID() {
					t.Fatalf("got %+v, %v", f, err)
				}
				if got := part(f, "v5"); got.Err == nil || len(got.Missing) != 1 || got.Missing[0].Node != old.UID() {
					t.Errorf("v5: %+v", got)
				}
				if name != "SocketsJoin" {
					answered(f, "v6", peer, new.UID())
				}
				if want := "missing " + old.UID() + " on v5"; !strings.Contains(partial.Error(), want) {
					t.Errorf("%q does not say %q", partial, want)
				}
			})
		})
	}
}
