package interop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestExceptRooms emits to all clients except those of a room, among servers of which some cannot
// exclude rooms: no excluded client gets it.
func TestExceptRooms(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, c := range []struct {
		prefix string
		with   []interop.Generation
	}{
		{"5.4.0", []interop.Generation{v5}},
		{"6.0.1", []interop.Generation{v60}},
		{"6.0.1 and newer", []interop.Generation{v60, v6, v8}},
	} {
		t.Run(c.prefix, func(t *testing.T) {
			var nodes []node
			for _, g := range c.with {
				nodes = append(nodes, startPeer(t, g, "js-"+string(g), redis.URL(), c.prefix))
			}
			d := dialects[c.with[0]]
			slow := func(o *adapter.Options) { o.Heartbeat = time.Second } // so that the nodes do not probe each second
			go1, go2 := startGo(t, "go1", redis.URL(), c.prefix, d, slow), startGo(t, "go2", redis.URL(), c.prefix, d, slow)
			nodes = append(nodes, go1, go2)
			s := stage(t, c.with[0], "", go1, nodes...)
			s.populate()
			s.connect(nodes[0], "like an id", nil, "abcdefghij0123456789")
			for range 16 {
				s.ask("emit", args{"except": []any{"blue"}, "event": "news", "args": []any{1}})
				s.expect(not(in("blue")), "news", 1)
				s.ask("emit", args{"to": []any{"red"}, "except": []any{"blue", "abcdefghij0123456789"}, "event": "news", "args": []any{2}})
				s.expect(both(in("red"), not(in("blue", "abcdefghij0123456789"))), "news", 2)
			}
			s.ask("emit", args{"except": []any{"abcdefghij0123456789"}, "event": "news", "args": []any{3}})
			s.expect(not(in("abcdefghij0123456789")), "news", 3)
		})
	}
}

// TestOlderServersGetOnlyKnownRequests: beside servers of 6.0.1 no request waits for its deadline, and their
// sockets can be listed, joined, removed from rooms and disconnected.
func TestOlderServersGetOnlyKnownRequests(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	const timeout = 20 * time.Second // so that a busy machine does not count as a wait
	js, newer := startPeer(t, v60, "js", redis.URL(), "p"), startPeer(t, v6, "newer", redis.URL(), "p")
	goes := startGo(t, "go", redis.URL(), "p", adapter.V6, func(o *adapter.Options) {
		o.RequestsTimeout, o.Heartbeat = timeout, time.Second
	})
	s := stage(t, v60, "", goes, js, newer, goes)
	s.populate()
	ns, err := goes.server.Of(s.ctx, s.nsp)
	require.NoError(t, err)
	began := time.Now()
	s.same("clients", s.ask("clients", nil), ids(s.clients))
	sockets, err := ns.To("red").Except("blue").FetchSockets(s.ctx)
	require.NoError(t, err)
	got := []any{}
	for _, r := range sockets.List {
		got = append(got, r.ID)
		assert.Equal(t, r.Rooms == nil, r.ID == s.of(js, "red").id, "rooms of %s: %v", r.ID, r.Rooms)
	}
	s.same("sockets", got, ids(s.where(both(in("red"), not(in("blue"))))))
	s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))

	change := func(op string, a args, match func(*client) bool, change func(c *client)) {
		t.Helper()
		for _, c := range s.where(match) {
			change(c)
		}
		s.ask(op, a)
		s.barrier()
		s.expectRooms()
	}
	join := func(c *client) { c.rooms = append(slices.Clone(c.rooms), "green") }
	leave := func(c *client) {
		c.rooms = slices.DeleteFunc(slices.Clone(c.rooms), func(r any) bool { return r == "green" })
	}
	change("socketsJoin", args{"to": []any{"red"}, "except": []any{"blue"}, "rooms": []any{"green"}}, both(in("red"), not(in("blue"))), join)
	change("socketsLeave", args{"to": []any{"green"}, "rooms": []any{"green"}}, in("green"), leave)
	one := s.of(js, "none")
	change("remoteJoin", args{"id": one.id, "room": "green"}, in(one.id), join)
	change("remoteLeave", args{"id": one.id, "room": "green"}, in(one.id), leave)
	_, err = ns.ClientRooms(s.ctx, one.id)
	assert.ErrorIs(t, err, errors.ErrUnsupported)
	s.ask("disconnectSockets", args{"to": []any{"blue"}, "close": false})
	s.expectDisconnected(in("blue"))
	s.ask("remoteDisconnect", args{"id": one.id, "close": true})
	s.expectDisconnected(in(one.id))
	// Once two and a half seconds for the probe at the most, never a deadline.
	assert.LessOrEqual(t, time.Since(began), timeout)
}

// TestOlderServersInV6: a Go node in dialect v6 sends requests beside servers of 5.4.0 and 6.0.1,
// which do not support all requests of newer versions. No request waits for responses that they cannot
// give, the capabilities of 6.0.1 are used, and 5.4.0 is reported as missing.
func TestOlderServersInV6(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, with := range [][]interop.Generation{{interop.V5}, {interop.V60}, {interop.V60, interop.V6}, {interop.V5, interop.V60, interop.V8}} {
		t.Run(fmt.Sprint(with), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			prefix := fmt.Sprint(with)
			want := []string{}
			six := ""
			for _, g := range with {
				p := interop.StartDoomed(t, interop.Config{Generation: g, Name: string(g), Redis: redis.URL(), Prefix: prefix})
				if _, err := p.Call(ctx, "namespace", args{"nsp": guests}); err != nil {
					t.Fatal(err)
				}
				id, err := p.Call(ctx, "connect", args{"nsp": guests, "name": "client of " + string(g), "rooms": []any{"room"}})
				require.NoError(t, err)
				if g != interop.V5 {
					want = append(want, id.(string))
				}
				if g == interop.V60 {
					six = id.(string)
				}
			}
			slices.Sort(want)
			const timeout = 5 * time.Second
			goes := startGo(t, "go", redis.URL(), prefix, adapter.V6, func(o *adapter.Options) {
				o.RequestsTimeout, o.OnError = timeout, func(error) {}
			})
			ns, err := goes.server.Of(ctx, guests)
			require.NoError(t, err)
			quick := func(what string, f func() error) {
				t.Helper()
				began := time.Now()
				err := f()
				if e, ok := errors.AsType[*backplane.PartialError](err); ok && slices.Contains(with, interop.V5) && len(e.Coverage.Missing) == 1 && e.Coverage.Missing[0].Count == 1 {
					err = nil
				}
				assert.NoError(t, err, what)
				assert.LessOrEqual(t, time.Since(began), timeout/2, what)
			}
			quick("Clients", func() error {
				c, err := ns.To("room").Clients(ctx)
				assert.Equal(t, want, append([]string{}, c.IDs...), "Clients")
				return err
			})
			quick("AllRooms", func() error { _, err := ns.AllRooms(ctx); return err })
			for what, list := range map[string]func(context.Context) (*adapter.Sockets, error){
				"FetchSockets":         ns.All().FetchSockets,
				"FetchSockets, except": ns.All().Except("empty").FetchSockets,
			} {
				quick(what, func() error {
					s, err := list(ctx)
					got := []string{}
					for _, r := range s.List {
						got = append(got, r.ID)
					}
					assert.Equal(t, want, got, what)
					return err
				})
			}
			if six == "" {
				return
			}
			quick("Join", func() error { return ns.Join(ctx, six, "new") })
			quick("Clients of the new room", func() error {
				c, err := ns.To("new").Clients(ctx)
				assert.Equal(t, []string{six}, c.IDs, "Clients")
				return err
			})
			quick("Leave", func() error { return ns.Leave(ctx, six, "new") })
			quick("Disconnect", func() error { return ns.Disconnect(ctx, six, false) })
		})
	}
}

// TestInAllRooms selects the clients that are in two rooms, among servers of Node.js, which have no such selection.
func TestInAllRooms(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, c := range []struct {
		prefix string
		with   []interop.Generation
	}{
		{"5.4.0", []interop.Generation{v5}},
		{"6.0.1", []interop.Generation{v60}},
		{"6.1.1 and newer", []interop.Generation{v6, v8}},
	} {
		t.Run(c.prefix, func(t *testing.T) {
			var nodes []node
			for _, g := range c.with {
				nodes = append(nodes, startPeer(t, g, "js-"+string(g), redis.URL(), c.prefix))
			}
			d := dialects[c.with[0]]
			go1, go2 := startGo(t, "go1", redis.URL(), c.prefix, d), startGo(t, "go2", redis.URL(), c.prefix, d)
			nodes = append(nodes, go1, go2)
			s := stage(t, c.with[0], "", go1, nodes...)
			s.populate()
			for _, n := range nodes {
				s.connect(n, "blue", nil, "blue")
			}
			ns, err := go1.server.Of(s.ctx, s.nsp)
			require.NoError(t, err)
			inBoth := both(in("red"), in("blue"))
			require.NoError(t, ns.All().InAll("red", "blue").Emit(s.ctx, "news", 1))
			s.expect(inBoth, "news", 1)
			require.NoError(t, ns.To("blue").InAll("red").Remote().Emit(s.ctx, "news", 2))
			s.expect(both(inBoth, func(c *client) bool { return c.node != go1 }), "news", 2)
			clients, err := ns.All().InAll("red", "blue").Clients(s.ctx)
			require.NoError(t, err)
			got := []any{}
			for _, id := range clients.IDs {
				got = append(got, id)
			}
			s.same("clients in both rooms", got, ids(s.where(inBoth)))
			for what, want := range map[string][]*client{"all": s.clients, "red": s.where(in("red")), "but red": s.where(not(in("red")))} {
				o := map[string]adapter.Operator{"all": ns.All(), "red": ns.To("red"), "but red": ns.All().Except("red")}[what]
				n, err := o.Count(s.ctx)
				require.NoError(t, err, what)
				require.Equal(t, len(want), n.Total, what)
				for _, n := range n.ByNode {
					require.LessOrEqual(t, n, len(want), what)
				}
			}
			require.NoError(t, ns.All().InAll("red", "blue").DisconnectSockets(s.ctx, false))
			s.expectDisconnected(inBoth)

			e, err := adapter.NewEmitter(go1.server.Broker(), &adapter.EmitterOptions{Namespace: s.nsp, Dialect: d})
			require.NoError(t, err)
			require.ErrorIs(t, e.All().InAll("red", "blue").Emit(s.ctx, "news"), errors.ErrUnsupported)
		})
	}
}
