package interop_test

import (
	"fmt"
	"testing"

	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// hostileNamespaces are names that the servers of every generation let clients
// connect to. Some are prefixes of others.
var hostileNamespaces = []string{
	"/", "/a", "/ab", "/a/b", "/a-request", "/grün", "/日本語", "/🎉", "/a(b)", "/a.b", "/a:b@c", "/A", "/{x}",
}

// TestNamespaces checks that namespaces and prefixes with similar names do not get
// each other's messages, in fleets of both kinds of nodes.
func TestNamespaces(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, g := range all {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel()
			prefix := "names " + string(g)
			js, goes := startPeer(t, g, "js", redis.URL(), prefix), startGo(t, "go", redis.URL(), prefix, dialects[g])
			jsOther := startPeer(t, g, "js-other", redis.URL(), prefix+"-other")
			goOther := startGo(t, "go-other", redis.URL(), prefix+"-other", dialects[g])
			var scenes []*scene
			for _, nsp := range hostileNamespaces {
				for _, nodes := range [][]node{{js, goes}, {goOther, jsOther}} {
					s := stage(t, g, nsp, nodes[0], nodes...)
					s.populate()
					scenes = append(scenes, s)
				}
			}
			for _, s := range scenes {
				for _, asker := range s.servers {
					s.asker = asker
					s.ask("emit", args{"event": "news", "args": []any{s.nsp}})
					s.expect(everybody, "news", s.nsp)
					s.ask("emit", args{"to": []any{"blue"}, "event": "news", "args": []any{s.nsp}})
					s.expect(in("blue"), "news", s.nsp)
					s.equal("serverCount", s.ask("serverCount", nil), 2)
					if g != v5 || s.nsp != "/" { // where all clients of v5 are
						s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))
					}
				}
			}
			for _, s := range scenes { // all scenes again: no message arrived under another name
				s.expectNothing()
			}
		})
	}
}

// TestGlobNamespaces: Node.js servers subscribe to names as if they were patterns.
// Go nodes do not, and get the messages that Node.js servers miss.
func TestGlobNamespaces(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, g := range all {
		for i, nsp := range []string{"/*", "/[x]", "/a?"} {
			if g == v5 && nsp == "/a?" {
				continue // of which clients of version 2 make a query
			}
			t.Run(string(g)+nsp, func(t *testing.T) {
				t.Parallel()
				// A prefix for each: the pattern may match the names of others.
				prefix := fmt.Sprint("glob ", g, i)
				js, goes := startPeer(t, g, "js", redis.URL(), prefix), startGo(t, "go", redis.URL(), prefix, dialects[g])
				s := stage(t, g, nsp, js, js, goes)
				s.populate()
				s.ask("emit", args{"event": "news", "args": []any{1}})
				s.expect(everybody, "news", 1)
				s.ask("emit", args{"to": []any{"blue"}, "event": "news", "args": []any{2}})
				s.expect(in("blue"), "news", 2)
				s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))
				s.asker = goes
				s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))
				s.asker = js
			})
		}
	}
}
