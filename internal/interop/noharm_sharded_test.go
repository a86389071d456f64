package interop_test

import (
	"slices"
	"testing"

	"github.com/crossroom/crossroom/internal/interop"
)

// harmSharded are the modes of the sharded adapter beside which all is played. The third one differs from the first only
// in where a server sends.
var harmSharded = []interop.Generation{interop.Sharded, interop.ShardedStatic}

// TestNoHarmSharded is TestNoHarm beside servers with the sharded adapter.
func TestNoHarmSharded(t *testing.T) {
	interop.Require(t)
	run := newHarmRun(t)
	t.Run("fleets", func(t *testing.T) {
		for _, g := range harmSharded {
			t.Run(string(g), func(t *testing.T) { t.Parallel(); run.fleet(t, string(g), g) })
		}
	})
	pinned := newTable(t).versions
	tab := harmTable{begin: harmShardedBegin}
	for _, g := range harmSharded {
		tab.columns = append(tab.columns, string(g))
	}
	tab.heads = []string{
		"mode dynamic of " + pinned["@socket.io/redis-adapter"] + " with socket.io " + pinned["socket.io"], "mode static",
	}
	tab.ops = slices.DeleteFunc(slices.Clone(harmOps), func(op harmOp) bool { return !op.beside(interop.ShardedStatic) })
	run.check(t, tab)
}
