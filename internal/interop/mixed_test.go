package interop_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestMixedPrefix puts servers of all generations under one prefix, which is a wrong configuration.
// No operation of a Go node then crashes a process or disconnects a client, and only
// the selected sockets are affected.
func TestMixedPrefix(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	const prefix = "mixed"
	var peers []node
	for _, g := range all {
		peers = append(peers, startPeer(t, g, string(g), redis.URL(), prefix))
	}
	for _, d := range []adapter.Dialect{adapter.V5, adapter.V6} {
		t.Run(d.String(), func(t *testing.T) {
			told := make(chan error, 100)
			goes := startGo(t, "go-"+d.String(), redis.URL(), prefix, d, func(o *adapter.Options) {
				o.RequestsTimeout = time.Second
				o.OnError = func(err error) { told <- err }
			})
			s := stage(t, v8, "", goes, append([]node{goes}, peers...)...)
			s.populate()

			// Broadcasts reach every client of every generation once.
			s.ask("emit", args{"event": "news", "args": []any{"grün", 1.5, args{"a": nil}, moment}})
			s.expect(everybody, "news", "grün", 1.5, args{"a": nil}, moment)
			s.ask("emit", args{"to": []any{"blue"}, "event": "news", "args": []any{1}})
			s.expect(in("blue"), "news", 1)
			s.ask("emit", args{"event": "binary", "args": []any{[]byte{1}}})
			for c, got := range s.settle() {
				want := interop.Message{Event: "binary", Args: []any{[]byte{1}}}
				if c.node == peers[0] { // of v5, whose clients need another form than all others
					want.Args = []any{jsonBuffer([]byte{1})}
				}
				if assert.Len(t, got, 1, c.name) {
					assert.Equal(t, want.Text(), got[0].Text(), c.name)
				}
			}

			// Every operation on one socket affects this socket or none.
			for _, c := range slices.Clone(s.clients) {
				untouched := func(what string, err error) {
					s.expectNothing()
					for _, other := range s.clients {
						if got := s.roomsOf(other); sorted(got) != sorted(other.rooms) && (other != c || err != nil) {
							t.Errorf("%s of %s (%v): %s is in %s, was in %s", what, c.name, err, other.name, sorted(got), sorted(other.rooms))
						}
						other.rooms = s.roomsOf(other)
					}
				}
				_, err := s.try(goes, "remoteJoin", args{"id": c.id, "room": "green"})
				untouched("remoteJoin", err)
				_, err = s.try(goes, "remoteLeave", args{"id": c.id, "room": "green"})
				untouched("remoteLeave", err)
				_, err = s.try(goes, "clientRooms", args{"id": c.id})
				untouched("clientRooms", err)
			}
			for _, c := range s.where(func(c *client) bool { return c.rooms == nil }) {
				if _, err := s.try(goes, "remoteDisconnect", args{"id": c.id, "close": false}); err == nil {
					s.expectDisconnected(in(c.id))
				}
				s.expectNothing()
			}

			// Queries return a result or an error.
			for _, op := range []string{"clients", "allRooms", "fetchSockets", "serverCount"} {
				_, err := s.try(goes, op, nil)
				require.NoError(t, s.ctx.Err(), "%s: %v", op, err)
			}
			// Operations that would crash a process are refused.
			if d == adapter.V5 {
				s.refused("customRequest", args{"data": 1})
			} else {
				s.refused("emitWithAck", args{"event": "question", "args": []any{}, "timeout": 300})
				s.expect(func(c *client) bool { return c.node == goes }, "question") // local clients are served first
				s.ask("customRequest", args{"data": 1})
				s.ask("serverSideEmit", args{"event": "hello", "args": []any{1}})
				_, _ = s.try(goes, "serverSideEmitWithAck", args{"event": "hello", "args": []any{1}})
			}
			_, _ = s.try(goes, "socketsJoin", args{"to": []any{"red"}, "rooms": []any{"green"}})
			_, _ = s.try(goes, "socketsLeave", args{"rooms": []any{"green"}})
			_, _ = s.try(goes, "disconnectSockets", args{"to": []any{"empty"}, "close": true})
			s.expectNothing()

			// The Node.js servers misread each other's messages, but not those of the Go node.
			for _, p := range peers {
				s.asker = p
				s.ask("emit", args{"event": "news", "args": []any{1}})
				s.expect(everybody, "news", 1)
			}
			s.asker = goes
			for len(told) > 0 {
				err := <-told
				var generations *adapter.GenerationsError
				if !errors.As(err, &generations) {
					t.Logf("OnError: %v", err)
				}
			}
		})
	}
}

// refused checks that an operation is refused because of the connected servers.
func (s *scene) refused(op string, a args) {
	s.Helper()
	v, err := s.try(s.asker, op, a)
	var mixed *adapter.MixedFleetError
	if !errors.As(err, &mixed) {
		s.Errorf("%s: %s, %v; want a *MixedFleetError", op, interop.Text(v), err)
	}
}

// TestTwoPrefixes puts servers of two generations under a prefix each, and Go nodes on
// both. They form one fleet, in which every message arrives once.
func TestTwoPrefixes(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	old, recent := startPeer(t, v5, "old", redis.URL(), "old"), startPeer(t, v8, "recent", redis.URL(), "recent")
	onBoth := func(o *adapter.Options) {
		o.Links = []adapter.Link{{Broker: openBroker(t, redis.URL(), "recent"), Dialect: adapter.V6}}
		o.Bridge = &adapter.Bridge{}
	}
	go1 := startGo(t, "go1", redis.URL(), "old", adapter.V5, onBoth)
	go2 := startGo(t, "go2", redis.URL(), "old", adapter.V5, onBoth)
	s := stage(t, v8, "", go1, go1, old, recent, go2)
	s.populate()

	emitted := func(asker node) {
		t.Helper()
		s.asker = asker
		s.ask("emit", args{"event": "news", "args": []any{1, "grün", moment}})
		s.expect(everybody, "news", 1, "grün", moment)
		s.ask("emit", args{"to": []any{"blue"}, "event": "news", "args": []any{2}})
		s.expect(in("blue"), "news", 2)
		s.ask("emit", args{"to": []any{"blue", "red"}, "event": "news", "args": []any{3}})
		s.expect(in("red"), "news", 3)
		from := s.of(asker, "red")
		s.ask("emit", args{"from": from.name, "to": []any{"red"}, "event": "news", "args": []any{4}})
		s.expect(func(c *client) bool { return c.in("red") && c != from }, "news", 4)
	}
	emitted(go1)
	emitted(go2)
	s.awaitBridge(old, recent)
	emitted(old)
	emitted(recent)
	// Servers of v5 can exclude sockets, not rooms. They are queried for the sockets in a room.
	s.ask("emit", args{"except": []any{"blue"}, "event": "news", "args": []any{5}})
	s.expect(not(in("blue")), "news", 5)
	s.ask("emit", args{"to": []any{"red"}, "except": []any{"blue", s.of(old, "red").id, "empty"}, "event": "news", "args": []any{6}})
	s.expect(both(in("red"), not(in("blue", s.of(old, "red").id))), "news", 6)

	// Node.js servers see the servers of their own prefix and the Go nodes.
	seen := func(peer node) []any {
		return ids(s.where(func(c *client) bool { return c.node == peer || c.node == go1 || c.node == go2 }))
	}
	s.same("clients of old", s.do(old, "clients", args{"rooms": []any{}}), seen(old))
	s.same("rooms of recent", s.do(recent, "allRooms", nil), append(seen(recent), "red", "blue"))
	s.equal("serverCount of old", s.do(old, "serverCount", nil), 3)
	s.equal("serverCount of recent", s.do(recent, "serverCount", nil), 3)
	// Go nodes see everything, once.
	s.asker = go1
	s.equal("serverCount", s.ask("serverCount", nil), 4)
	s.same("clients", s.ask("clients", args{"rooms": []any{}}), ids(s.clients))
	s.same("rooms", s.ask("allRooms", nil), append(ids(s.clients), "red", "blue"))
	list, _ := s.ask("fetchSockets", args{"to": []any{"blue"}}).([]any)
	assert.Len(t, list, 4, "fetchSockets of a room with 4 sockets: %s", interop.Text(list))
	for _, peer := range []node{old, recent, go2} {
		c := s.of(peer, "none")
		s.ask("remoteJoin", args{"id": c.id, "room": "green"})
		s.ask("allRooms", nil)
		c.rooms = append(c.rooms, "green")
		s.expectRooms()
	}
	s.ask("emit", args{"to": []any{"green"}, "event": "news", "args": []any{5}})
	s.expect(in("green"), "news", 5)
	s.same("replies", s.ask("customRequest", args{"data": "x"}), []any{
		args{"node": "go1", "asked": "x"}, args{"node": "go2", "asked": "x"}, args{"node": "old", "asked": "x"},
	})
	c := s.of(recent, "none")
	s.ask("remoteDisconnect", args{"id": c.id, "close": true})
	s.expectDisconnected(in(c.id))
}

// awaitBridge waits until events of either server reach the other's clients. The bridge
// keeps events that are emitted before it begins.
func (s *scene) awaitBridge(a, b node) {
	s.Helper()
	for _, way := range [][2]node{{a, b}, {b, a}} {
		s.asker = way[0]
		s.ask("emit", args{"event": "probe", "args": []any{}})
		if _, err := s.of(way[1], "none").inbox.Until(s.ctx, func(m interop.Message) bool { return m.Event == "probe" }); err != nil {
			s.Fatalf("nothing of %s is passed on", s.asker.Name())
		}
		s.settle()
	}
}
