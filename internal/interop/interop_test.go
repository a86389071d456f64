package interop_test

import (
	"slices"
	"testing"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// dialects are the dialects of a Go node among the servers of a generation.
var dialects = map[interop.Generation]adapter.Dialect{
	v5: adapter.V5, v60: adapter.V6, v6: adapter.V6, v70: adapter.V6, v71: adapter.V6, v7: adapter.V6, v8: adapter.V6,
	interop.Sharded: adapter.Sharded, interop.ShardedStatic: adapter.ShardedStatic,
}

// TestVersions checks that a server of every pinned version and a Go node exchange
// broadcasts and list each other's rooms.
func TestVersions(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, g := range versions {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			prefix := "version-" + string(g)
			js, goes := startPeer(t, g, "js", redis.URL(), prefix), startGo(t, "go", redis.URL(), prefix, dialects[g])
			s := stage(t, g, "", js, js, goes)
			s.populate()
			for _, s.asker = range s.servers {
				s.ask("emit", args{"event": "news", "args": []any{1, "grün", moment, args{"a": []any{nil}}}})
				s.expect(everybody, "news", 1, "grün", moment, args{"a": []any{nil}})
				s.ask("emit", args{"to": []any{"blue"}, "event": "news", "args": []any{2}})
				s.expect(in("blue"), "news", 2)
				s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))
				s.equal("serverCount", s.ask("serverCount", nil), 2)
			}
		})
	}
}

// TestNodeOnly runs the cases between Node.js processes. A case
// that fails with Go nodes and not here shows a defect of the Go nodes.
func TestNodeOnly(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, g := range all {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			a, b := startPeer(t, g, "a", redis.URL(), "p-"+string(g)), startPeer(t, g, "b", redis.URL(), "p-"+string(g))
			t.Run("servers", func(t *testing.T) {
				run(t, asNode(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", a, a, b)) })
			})
			for _, eg := range emittersFor[g] {
				e := startPeer(t, eg, "e", redis.URL(), "p-"+string(g))
				t.Run(string(eg), func(t *testing.T) {
					run(t, asNode(eg), func(t *testing.T, c testCase) { c.run(stage(t, g, "", e, a, b)) })
				})
			}
		})
	}
}

// TestInterop runs every case between Go nodes and Node.js processes, in every direction,
// and writes the table of results. Fleets of different prefixes run in parallel.
func TestInterop(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	results := newTable(t)
	group := func(t *testing.T, column string, can func(testCase) bool, play func(t *testing.T, c testCase)) {
		t.Run(column, func(t *testing.T) {
			run(t, can, func(t *testing.T, c testCase) {
				defer func() { results.set(c.operation, column, !t.Failed()) }()
				play(t, c)
			})
		})
	}
	t.Run("all", func(t *testing.T) {
		for _, g := range all {
			t.Run("pair of "+string(g), func(t *testing.T) {
				t.Parallel()
				prefix := "pair-" + string(g)
				js, goes := startPeer(t, g, "js", redis.URL(), prefix), startGo(t, "go", redis.URL(), prefix, dialects[g])
				group(t, string(g)+" to Go", asNode(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", js, js, goes)) })
				group(t, "Go to "+string(g), asGo(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", goes, goes, js)) })
				for _, eg := range emittersFor[g] {
					e := startPeer(t, eg, "e", redis.URL(), prefix)
					group(t, string(eg)+" to Go", asNode(eg), func(t *testing.T, c testCase) { c.run(stage(t, g, "", e, goes)) })
				}
				e := startGoEmitter(t, "go-e", redis.URL(), prefix, dialects[g])
				group(t, "Go emitter to "+string(g), asGoEmitter(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", e, js)) })
			})
			t.Run("fleet of "+string(g), func(t *testing.T) {
				t.Parallel()
				prefix := "fleet-" + string(g)
				js1, js2 := startPeer(t, g, "js1", redis.URL(), prefix), startPeer(t, g, "js2", redis.URL(), prefix)
				go1, go2 := startGo(t, "go1", redis.URL(), prefix, dialects[g]), startGo(t, "go2", redis.URL(), prefix, dialects[g])
				group(t, "fleet of "+string(g)+": Node asks", asNode(g), func(t *testing.T, c testCase) {
					c.run(stage(t, g, "", js1, js1, go1, js2, go2))
				})
				group(t, "fleet of "+string(g)+": Go asks", asGo(g), func(t *testing.T, c testCase) {
					c.run(stage(t, g, "", go1, go1, js1, go2, js2))
				})
			})
		}
	})
	results.check(t)
}

// TestInteropDynamic runs the cases that send to Go nodes, where these subscribe to rooms.
func TestInteropDynamic(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	dynamic := func(o *adapter.Options) { o.Subscription = backplane.DynamicSubscription }
	for _, g := range all {
		prefix := "dynamic-" + string(g)
		js, goes := startPeer(t, g, "js", redis.URL(), prefix), startGo(t, "go", redis.URL(), prefix, dialects[g], dynamic)
		t.Run(string(g)+" to Go", func(t *testing.T) {
			run(t, asNode(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", js, js, goes)) })
		})
		t.Run("Go to "+string(g), func(t *testing.T) {
			run(t, asGo(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", goes, goes, js)) })
		})
		for _, eg := range emittersFor[g] {
			e := startPeer(t, eg, "e", redis.URL(), prefix)
			t.Run(string(eg)+" to Go", func(t *testing.T) {
				run(t, asNode(eg), func(t *testing.T, c testCase) { c.run(stage(t, g, "", e, goes)) })
			})
		}
	}
}

func startPeer(t *testing.T, g interop.Generation, name, url, prefix string) *interop.Peer {
	t.Helper()
	return interop.Start(t, interop.Config{Generation: g, Name: name, Redis: url, Prefix: prefix})
}

// run runs the cases that the nodes support.
func run(t *testing.T, can func(testCase) bool, play func(*testing.T, testCase)) {
	for _, c := range cases() {
		if can(c) {
			t.Run(c.slug(), func(t *testing.T) { play(t, c) })
		}
	}
}

func asNode(g interop.Generation) func(testCase) bool {
	return func(c testCase) bool { return slices.Contains(c.node, g) }
}

func asGo(g interop.Generation) func(testCase) bool {
	return func(c testCase) bool { return slices.Contains(c.crossroom, g) }
}

func asGoEmitter(g interop.Generation) func(testCase) bool {
	return func(c testCase) bool { return slices.Contains(c.emitter, g) }
}
