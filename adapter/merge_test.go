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
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// The result of any request over several links names the link of each node and of each
// missing part.
func TestResultsNameTheirLinks(t *testing.T) {
	for name, ask := range map[string]func(ctx context.Context, ns *adapter.Namespace) (backplane.Coverage, error){
		"Clients": func(ctx context.Context, ns *adapter.Namespace) (backplane.Coverage, error) {
			c, err := ns.All().Clients(ctx)
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
					require.GreaterOrEqual(t, i, 0, "no link %s", prefix)
					require.Len(t, f.Links, 2, "no link %s", prefix)
					return f.Links[i]
				}
				answered := func(f backplane.Coverage, prefix string, want ...string) {
					t.Helper()
					got := part(f, prefix)
					slices.Sort(got.Answered)
					slices.Sort(want)
					require.Equal(t, want, got.Answered, prefix)
					assert.Empty(t, got.Missing, prefix)
					assert.NoError(t, got.Err, prefix)
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
				require.True(t, is, "got %+v, %v", f, err)
				require.Len(t, f.Missing, 1, "got %+v, %v", f, err)
				require.Equal(t, old.UID(), f.Missing[0].Node, "got %+v, %v", f, err)
				got := part(f, "v5")
				require.Error(t, got.Err)
				require.Len(t, got.Missing, 1)
				assert.Equal(t, old.UID(), got.Missing[0].Node)
				if name != "SocketsJoin" {
					answered(f, "v6", peer, new.UID())
				}
				assert.Contains(t, partial.Error(), "missing "+old.UID()+" on v5", "the link is missing in %q", partial)
			})
		})
	}
}
