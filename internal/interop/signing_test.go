package interop_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestInteropSigned runs every case with Go nodes that sign: Node.js servers of every
// generation read signed messages as they read unsigned ones, and the Go nodes accept what
// Node.js servers send, which is not signed.
func TestInteropSigned(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	keys, err := backplane.NewKeyring(bytes.Repeat([]byte("k"), 32))
	require.NoError(t, err)
	signed := func(o *adapter.Options) { o.Keys, o.Unsigned = keys, backplane.AllOperations }
	t.Run("all", func(t *testing.T) {
		for _, g := range all {
			t.Run(string(g), func(t *testing.T) {
				t.Parallel()
				prefix := "signed-" + string(g)
				js := startPeer(t, g, "js", redis.URL(), prefix)
				go1, go2 := startGo(t, "go1", redis.URL(), prefix, dialects[g], signed), startGo(t, "go2", redis.URL(), prefix, dialects[g], signed)
				t.Run("Node asks", func(t *testing.T) {
					run(t, asNode(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", js, js, go1, go2)) })
				})
				t.Run("Go asks", func(t *testing.T) {
					run(t, asGo(g), func(t *testing.T, c testCase) { c.run(stage(t, g, "", go1, go1, js, go2)) })
				})
				b := openBroker(t, redis.URL(), prefix)
				e, err := adapter.NewEmitter(b, &adapter.EmitterOptions{Dialect: dialects[g], Keys: keys})
				require.NoError(t, err)
				t.Run("Go emitter", func(t *testing.T) {
					run(t, asGoEmitter(g), func(t *testing.T, c testCase) {
						c.run(stage(t, g, "", &goEmitter{"go-e", e}, js, go1))
					})
				})
				for _, n := range []*goNode{go1, go2} {
					for _, st := range n.server.Stats().Links {
						assert.Zero(t, st.Unverified, n.name)
					}
				}
			})
		}
	})
}

// TestVersionsSigned checks that servers of all pinned versions read signed broadcasts and
// requests.
func TestVersionsSigned(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	keys, err := backplane.NewKeyring(bytes.Repeat([]byte("k"), 32))
	require.NoError(t, err)
	for _, g := range versions {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			prefix := "version-signed-" + string(g)
			js := startPeer(t, g, "js", redis.URL(), prefix)
			goes := startGo(t, "go", redis.URL(), prefix, dialects[g], func(o *adapter.Options) {
				o.Keys, o.Unsigned = keys, backplane.Broadcasts|backplane.Queries|backplane.Responses
			})
			s := stage(t, g, "", js, js, goes)
			s.populate()
			for _, s.asker = range s.servers {
				s.ask("emit", args{"event": "news", "args": []any{1, "grün", moment, []byte{1, 2}}})
				s.expect(everybody, "news", 1, "grün", moment, []byte{1, 2})
				s.ask("emit", args{"to": []any{"blue"}, "event": "news", "args": []any{2}})
				s.expect(in("blue"), "news", 2)
				s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))
			}
		})
	}
}

// TestInteropShardedSigned is TestInteropSigned for servers with the sharded adapter, in its three modes.
func TestInteropShardedSigned(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	keys, err := backplane.NewKeyring(bytes.Repeat([]byte("k"), 32))
	require.NoError(t, err)
	signed := func(o *adapter.Options) { o.Keys, o.Unsigned = keys, backplane.AllOperations }
	for _, m := range shardedModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			prefix, g, d := "signed-"+m.name, m.Generation, m.Dialect
			js := startPeer(t, g, "js", redis.URL(), prefix)
			go1, go2 := startGo(t, "go1", redis.URL(), prefix, d, signed), startGo(t, "go2", redis.URL(), prefix, d, signed)
			t.Run("Node asks", func(t *testing.T) {
				run(t, asSharded, func(t *testing.T, c testCase) { c.run(stage(t, g, "", js, js, go1, go2)) })
			})
			t.Run("Go asks", func(t *testing.T) {
				run(t, asGo(v8), func(t *testing.T, c testCase) { c.run(stage(t, g, "", go1, go1, js, go2)) })
			})
			e, err := adapter.NewEmitter(openBroker(t, redis.URL(), prefix, d), &adapter.EmitterOptions{Dialect: d, Keys: keys})
			require.NoError(t, err)
			t.Run("Go emitter", func(t *testing.T) {
				run(t, asGoEmitter(v8), func(t *testing.T, c testCase) {
					c.run(stage(t, g, "", &goEmitter{"go-e", e}, js, go1))
				})
			})
			for _, n := range []*goNode{go1, go2} {
				for _, st := range n.server.Stats().Links {
					assert.Zero(t, st.Unverified, n.name)
				}
			}
		})
	}
}
