package interop_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestDefaultPrefix: no node sets a prefix.
func TestDefaultPrefix(t *testing.T) {
	interop.Require(t)
	for _, g := range all {
		t.Run(string(g), func(t *testing.T) {
			redis := servers.StartRedis(t, nil)
			js, goes := startPeer(t, g, "js", redis.URL(), ""), startGo(t, "go", redis.URL(), "", dialects[g])
			s := stage(t, g, "/", js, js, goes)
			s.populate()
			for _, asker := range s.servers {
				s.asker = asker
				s.ask("emit", args{"event": "news", "args": []any{1}})
				s.expect(everybody, "news", 1)
				s.equal("serverCount", s.ask("serverCount", nil), 2)
				rooms, _ := s.ask("allRooms", nil).([]any)
				for _, id := range ids(s.clients) {
					if !slices.Contains(rooms, id) {
						t.Errorf("%s knows no room %s", asker.Name(), id)
					}
				}
			}
			assert.Equal(t, "socket.io", goes.server.Prefix())
		})
	}
}

// TestOwnResponseChannel: servers respond on the requesting server's own channel.
func TestOwnResponseChannel(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	start := func(name string) *interop.Peer {
		return interop.Start(t, interop.Config{
			Generation: v8, Name: name, Redis: redis.URL(), Prefix: "own", OwnResponseChannel: true,
		})
	}
	js1, js2 := start("js1"), start("js2")
	goes := startGo(t, "go", redis.URL(), "own", adapter.V6)
	for _, c := range slices.Concat(queryCases, remoteCases, serverCases) {
		if asNode(v8)(c) {
			t.Run("Node asks/"+c.slug(), func(t *testing.T) { c.run(stage(t, v8, "", js1, js1, js2, goes)) })
		}
		if asGo(v8)(c) {
			t.Run("Go asks/"+c.slug(), func(t *testing.T) { c.run(stage(t, v8, "", goes, goes, js1, js2)) })
		}
	}
}
