package interop_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

type shardedMode struct {
	interop.Generation
	adapter.Dialect
	name string
}

// shardedModes are the subscription modes of the sharded adapter, with the dialects of Go nodes beside them.
var shardedModes = []shardedMode{
	{interop.Sharded, adapter.Sharded, "dynamic"},
	{interop.ShardedStatic, adapter.ShardedStatic, "static"},
	{interop.ShardedPrivate, adapter.ShardedPrivate, "dynamic-private"},
}

// asSharded reports whether a server with the sharded adapter has a case. The adapter cannot list all rooms.
func asSharded(c testCase) bool {
	return asNode(v8)(c) && c.operation != "allRooms" && c.operation != "queries at the same time"
}

// onShards reports whether a server has the sharded adapter.
func onShards(g interop.Generation) bool {
	return slices.ContainsFunc(shardedModes, func(m shardedMode) bool { return m.Generation == g })
}

// hasBytes reports whether values have binary data at any depth.
func hasBytes(values []any) (found bool) {
	mapped(values, func(v any) any {
		_, is := v.([]byte)
		found = found || is
		return v
	})
	return found
}

// TestInteropSharded runs every case between Go nodes and servers with the sharded adapter, in its three modes and in
// every direction, on a single server and on a cluster of three masters.
func TestInteropSharded(t *testing.T) {
	interop.Require(t)
	single, cluster := servers.StartRedis(t, nil), servers.StartRedisCluster(t)
	results := newTable(t)
	failed := map[[2]string]bool{}
	group := func(t *testing.T, column string, can func(testCase) bool, play func(t *testing.T, c testCase)) {
		t.Run(column, func(t *testing.T) {
			run(t, can, func(t *testing.T, c testCase) {
				defer func() {
					results.mu.Lock()
					key := [2]string{c.operation, column}
					failed[key] = failed[key] || t.Failed()
					ok := !failed[key]
					results.mu.Unlock()
					results.set(c.operation, column, ok)
				}()
				play(t, c)
			})
		})
	}
	t.Run("all", func(t *testing.T) {
		for name, url := range map[string]string{"single": single.URL(), "cluster": "redis+cluster://" + strings.Join(cluster.Addrs(), ",")} {
			for _, m := range shardedModes {
				t.Run(name+" "+m.name, func(t *testing.T) {
					t.Parallel()
					play := func(s *scene, c testCase) {
						s.unordered = name == "cluster"
						c.run(s)
					}
					prefix, g, d := "pair-"+m.name, m.Generation, m.Dialect
					js, goes := startPeer(t, g, "js", url, prefix), startGo(t, "go", url, prefix, d)
					group(t, m.name+" to Go", asSharded, func(t *testing.T, c testCase) { play(stage(t, g, "", js, js, goes), c) })
					group(t, "Go to "+m.name, asGo(v8), func(t *testing.T, c testCase) { play(stage(t, g, "", goes, goes, js), c) })
					e := startGoEmitter(t, "go-e", url, prefix, d)
					group(t, "Go emitter to "+m.name, asGoEmitter(v8), func(t *testing.T, c testCase) { play(stage(t, g, "", e, js), c) })
					if name == "cluster" {
						return // responses of several servers are no different there
					}
					fleet := "fleet-" + m.name
					js1, js2 := startPeer(t, g, "js1", url, fleet), startPeer(t, g, "js2", url, fleet)
					go1, go2 := startGo(t, "go1", url, fleet, d), startGo(t, "go2", url, fleet, d)
					group(t, "fleet of "+m.name+": Node asks", asSharded, func(t *testing.T, c testCase) { play(stage(t, g, "", js1, js1, go1, js2, go2), c) })
					group(t, "fleet of "+m.name+": Go asks", asGo(v8), func(t *testing.T, c testCase) { play(stage(t, g, "", go1, go1, js1, go2, js2), c) })
				})
			}
		}
	})
	results.checkSharded(t)
}

// The table of the sharded adapter, in the same document.
const (
	shardedBegin = "<!-- Written by: go test ./internal/interop -run '^TestInteropSharded$' -update -->\n"
)

// checkSharded is check for the sharded adapter.
func (tab *table) checkSharded(t *testing.T) {
	var pairs, fleets []column
	for _, m := range shardedModes {
		pairs = append(pairs, column{m.name + " to Go", m.name + " → Go", asSharded}, column{"Go to " + m.name, "Go → " + m.name, asGo(v8)},
			column{"Go emitter to " + m.name, "Go Emitter → " + m.name, asGoEmitter(v8)})
		fleets = append(fleets, column{"fleet of " + m.name + ": Node asks", m.name + ": Node.js sends", asSharded}, column{"fleet of " + m.name + ": Go asks", "Go sends", asGo(v8)})
	}
	var b strings.Builder
	b.WriteString("\n")
	b.WriteString("The sharded adapter of @socket.io/redis-adapter " + tab.versions["@socket.io/redis-adapter"] + " with socket.io " + tab.versions["socket.io"] +
		", by its subscription mode. “ok”: on a single server, and on a cluster of three masters.\n\n")
	all := tab.render(&b, pairs)
	b.WriteString("\nIn a fleet of two Node.js servers and two Go nodes, on a single server:\n\n")
	whole := tab.render(&b, fleets)
	b.WriteString("\n")
	checkTable(t, tableFile, shardedBegin, b.String(), all && whole)
}
