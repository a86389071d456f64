package interop_test

import (
	"slices"
	"testing"

	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestNodeOnly runs the cases that Node.js processes can do among themselves: a case
// that fails with Go nodes and not here is the Go nodes' fault.
func TestNodeOnly(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	start := func(g interop.Generation, name, prefix string) *interop.Peer {
		return interop.Start(t, interop.Config{Generation: g, Name: name, Redis: redis.URL(), Prefix: prefix})
	}
	for _, g := range all {
		prefix := "only-" + string(g)
		a, b := start(g, "a", prefix), start(g, "b", prefix)
		t.Run(string(g), func(t *testing.T) {
			for _, c := range cases() {
				if slices.Contains(c.node, g) {
					t.Run(c.slug(), func(t *testing.T) { c.run(stage(t, g, "", a, a, b)) })
				}
			}
		})
		for _, eg := range emittersFor[g] {
			e := emitter{start(eg, "e", prefix)}
			t.Run(string(eg)+" to "+string(g), func(t *testing.T) {
				for _, c := range cases() {
					if slices.Contains(c.node, eg) {
						t.Run(c.slug(), func(t *testing.T) { c.run(stage(t, g, "", e, a, b)) })
					}
				}
			})
		}
	}
}
