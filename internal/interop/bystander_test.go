package interop_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestGoAmongThemselves runs operations between Go nodes that do not involve Node.js servers, while
// a Node.js server is connected. They must not affect it.
func TestGoAmongThemselves(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, g := range all {
		t.Run(string(g), func(t *testing.T) {
			prefix := "among-" + string(g)
			js := startPeer(t, g, "js", redis.URL(), prefix)
			go1 := startGo(t, "go1", redis.URL(), prefix, dialects[g])
			go2 := startGo(t, "go2", redis.URL(), prefix, dialects[g])
			s := stage(t, g, "", go1, go1, js, go2)
			s.populate()
			watcher := interop.Watch(t, redis.URL())

			// Membership: nodes start, announce themselves, and leave.
			for range 3 {
				visitor := startGo(t, "visitor", redis.URL(), prefix, dialects[g])
				s.do(visitor, "namespace", nil)
				require.NoError(t, visitor.server.Close(s.ctx))
			}
			// Custom requests go to Go nodes only, where Node.js servers have none.
			if g != v5 {
				s.same("replies", s.ask("customRequest", args{"data": "x"}), []any{
					args{"node": "go1", "asked": "x"}, args{"node": "go2", "asked": "x"},
				})
			}
			// A namespace that only Go nodes serve.
			other := stage(t, g, "/only-go", go1, go1, go2)
			other.populate()
			other.ask("emit", args{"event": "news", "args": []any{[]byte{1}}})
			other.expect(everybody, "news", []byte{1})

			// Joining, leaving and local messages do not concern other servers.
			s.ask("emit", args{"flags": []any{"local"}, "event": "news", "args": []any{1}})
			s.expect(func(c *client) bool { return c.node == go1 }, "news", 1)

			published, err := watcher.Since(s.ctx)
			require.NoError(t, err)
			for _, m := range published {
				// A server crashes on bytes that it cannot read. JSON is read or ignored by all servers.
				request := strings.HasPrefix(m.Channel, prefix+"-request#") || strings.HasPrefix(m.Channel, prefix+"-response#")
				if request && !strings.HasPrefix(m.Payload, "{") {
					t.Errorf("on %s: %q", m.Channel, m.Payload)
				}
			}
			// The Node.js server still sends requests, and all nodes respond.
			s.asker = js
			s.equal("serverCount", s.ask("serverCount", nil), 3)
			ns, err := go1.server.Of(s.ctx, s.nsp)
			require.NoError(t, err)
			peers, err := ns.Peers(s.ctx)
			require.NoError(t, err, "Peers: %+v", peers)
			require.Len(t, peers.List, 1, "Peers: %+v", peers)
			assert.Equal(t, go2.server.UID(), peers.List[0].ID, "Peers: %+v", peers)
			assert.Equal(t, 1, peers.Foreign, "Peers: %+v", peers)
			assert.Equal(t, 3, peers.Total(), "Peers: %+v", peers)
			s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))
			s.expectNothing()
		})
	}
}

// TestFrozenServer checks that an unresponsive Node.js server causes an error
// and the documented delay, and that the responses of the others are complete.
func TestFrozenServer(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	const timeout = 2 * time.Second
	for _, g := range all {
		t.Run(string(g), func(t *testing.T) {
			t.Parallel() // mostly waits
			prefix := "frozen-" + string(g)
			js1, js2 := startPeer(t, g, "js1", redis.URL(), prefix), startPeer(t, g, "js2", redis.URL(), prefix)
			brief := func(o *adapter.Options) { o.RequestsTimeout = timeout }
			go1 := startGo(t, "go1", redis.URL(), prefix, dialects[g], brief)
			go2 := startGo(t, "go2", redis.URL(), prefix, dialects[g])
			s := stage(t, g, "", go1, go1, js1, js2, go2)
			s.populate()
			want := s.where(func(c *client) bool { return c.node != js2 })

			js2.Freeze(t)
			ns, err := go1.server.Of(s.ctx, s.nsp)
			require.NoError(t, err)
			start := time.Now()
			clients, err := ns.All().Clients(s.ctx)
			var partial *backplane.PartialError
			require.ErrorAs(t, err, &partial, "Clients with a frozen server: %v", clients)
			took := time.Since(start)
			assert.GreaterOrEqual(t, took, timeout)
			assert.LessOrEqual(t, took, 3*timeout)
			// The next request of that kind does not wait for the deadline.
			start = time.Now()
			_, err = ns.All().Clients(s.ctx)
			assert.ErrorIs(t, err, backplane.ErrPeerUnresponsive, "Clients once more")
			assert.LessOrEqual(t, time.Since(start), timeout*3/4, "the second time")
			got := []any{}
			for _, id := range clients.IDs {
				got = append(got, id)
			}
			s.same("clients of the others", got, ids(want))
			js2.Thaw(t)

			// Requests wait for it again after it has responded to one, possibly late.
			// Until then it gets an eighth of the time.
			for s.ctx.Err() == nil {
				if _, err = ns.All().Clients(s.ctx); !errors.Is(err, backplane.ErrPeerUnresponsive) {
					break
				}
			}
			s.same("all clients", s.ask("clients", args{"rooms": []any{}}), ids(s.clients))
			s.expectNothing()
		})
	}
}
