package adapter_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// populated is a fleet of three nodes with the sockets a0, b0, a1, b1, a2, b2. Socket an is
// in the rooms "a", "both" and "n<n>", bn in "b", "both" and "n<n>".
func populated(t *testing.T, d adapter.Dialect) []*node {
	nodes := fleet(t, 3, adapter.Options{Dialect: d})
	for i, n := range nodes {
		num := string(rune('0' + i))
		for _, letter := range []string{"a", "b"} {
			n.add(t, letter+num, letter, "both", "n"+num)
		}
	}
	return nodes
}

func TestClients(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := populated(t, d)
		all, err := nodes[0].ns.All().Clients(t.Context())
		ok(t, err)
		require.Equal(t, []string{"a0", "a1", "a2", "b0", "b1", "b2"}, all.IDs, "all")
		others := []string{nodes[1].UID(), nodes[2].UID()}
		slices.Sort(others)
		require.Equal(t, others, all.Answered, "answered")
		some, err := nodes[1].ns.To("a", "n0", "empty").Clients(t.Context())
		ok(t, err)
		require.Equal(t, []string{"a0", "a1", "a2", "b0"}, some.IDs, "some")
		none, err := nodes[1].ns.To("empty").Clients(t.Context())
		ok(t, err)
		require.Empty(t, none.IDs, "none")
	})
}

func TestClientRooms(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := populated(t, d)
		for _, n := range nodes {
			rooms, err := n.ns.ClientRooms(t.Context(), "a1")
			ok(t, err)
			require.Equal(t, []string{"a", "a1", "both", "n1"}, rooms, "rooms")
		}
		start := time.Now()
		_, err := nodes[0].ns.ClientRooms(t.Context(), "unknown")
		assert.ErrorIs(t, err, backplane.ErrNoSuchMember)
		assert.Less(t, time.Since(start), adapter.DefaultRequestsTimeout, "as long as a timeout for no such socket")
	})
}

func TestAllRooms(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := populated(t, d)
		rooms, err := nodes[2].ns.AllRooms(t.Context())
		ok(t, err)
		require.Equal(t, []string{"a", "a0", "a1", "a2", "b", "b0", "b1", "b2", "both", "n0", "n1", "n2"}, rooms.List, "rooms")
	})
}

func TestFetchSockets(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := populated(t, d)
		for _, c := range []struct {
			what string
			op   adapter.Operator
			want []string
		}{
			{"all", nodes[0].ns.All(), []string{"a0", "a1", "a2", "b0", "b1", "b2"}},
			{"a", nodes[0].ns.To("a"), []string{"a0", "a1", "a2"}},
			{"a but n1", nodes[0].ns.To("a").Except("n1"), []string{"a0", "a2"}},
			{"all but b and a0", nodes[0].ns.All().Except("b", "a0"), []string{"a1", "a2"}},
			{"here", nodes[0].ns.All().Local(), []string{"a0", "b0"}},
			{"here but b", nodes[0].ns.All().Local().Except("b"), []string{"a0"}},
		} {
			got, err := c.op.FetchSockets(t.Context())
			ok(t, err)
			require.Equal(t, c.want, ids(got.List), c.what)
			for _, s := range got.List {
				slices.Sort(s.Rooms)
				assert.Equal(t, []string{s.ID[:1], s.ID, "both", "n" + s.ID[1:]}, s.Rooms, "%s: %s", c.what, s.ID)
			}
		}
	})
}

func TestDescriptions(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	type data struct {
		User string `json:"user"`
	}
	shake := adapter.Handshake{Address: "192.0.2.1", Secure: true, Headers: map[string]any{"host": "example.org"}, URL: "/socket.io/", Issued: 1700000000000}
	nodes[1].addSocket(t, &talker{socket: newSocket("told"), about: adapter.Description{Handshake: &shake, Data: data{"ada"}}})
	nodes[1].addSocket(t, &talker{socket: newSocket("untold")})
	nodes[1].addSocket(t, &talker{socket: newSocket("broken"), about: adapter.Description{Data: func() {}}})
	got, err := nodes[0].ns.All().FetchSockets(t.Context())
	ok(t, err)
	require.Equal(t, []string{"broken", "told", "untold"}, ids(got.List), "ids")
	told := got.List[1]
	assert.Equal(t, nodes[1].UID(), told.Node)
	var d data
	ok(t, json.Unmarshal(told.Data, &d))
	var h adapter.Handshake
	ok(t, json.Unmarshal(told.Handshake, &h))
	assert.Equal(t, "ada", d.User)
	assert.Equal(t, shake.Address, h.Address)
	require.True(t, h.Secure)
	assert.Equal(t, "example.org", h.Headers["host"])
	assert.Equal(t, shake.Issued, h.Issued)
	// Applications of Node.js servers read these objects.
	for i, s := range got.List[1:] {
		var raw map[string]json.RawMessage
		ok(t, json.Unmarshal(s.Handshake, &raw))
		if i == 0 {
			raw["headers"] = []byte("{}") // a real handshake has headers
		}
		for _, key := range []string{"headers", "query", "auth"} {
			assert.Equal(t, "{}", string(raw[key]), "%s: %s", s.ID, key)
		}
	}
	for _, s := range []adapter.RemoteSocket{got.List[0], got.List[2]} {
		assert.Equal(t, "{}", string(s.Data), "%s: data", s.ID)
	}
	eventually(t, "the broken description is reported", func() bool {
		return slices.ContainsFunc(nodes[1].errors.all(), func(err error) bool {
			var e *backplane.OpError
			return errors.As(err, &e) && strings.HasPrefix(e.Op, "encode ") && e.Name == "broken"
		})
	})
}

// The credentials that one client sends must hide neither the other sockets of its node nor
// the rest of its own description.
func TestHostileDescriptions(t *testing.T) {
	hostile := map[string]any{
		"a level more": nested(t, msgpack.ValueDepth), // in the handshake's object
		"600 levels":   nested(t, 600),
		"9,990 levels": nested(t, 9990),
		"UTF-8":        json.RawMessage("\"\xff\""),
		"function":     func() {},
	}
	// Encoding the deep values takes long on a busy machine and is not a stall.
	nodes := fleet(t, 2, adapter.Options{Redact: func(*adapter.Handshake) {}, StallTimeout: time.Minute})
	about := func(auth, data any) adapter.Description {
		return adapter.Description{Handshake: &adapter.Handshake{Address: "192.0.2.1", Auth: auth}, Data: data}
	}
	for name, auth := range hostile {
		nodes[1].addSocket(t, &talker{socket: newSocket(name), about: about(auth, name)})
		nodes[1].addSocket(t, &talker{socket: newSocket("data: " + name), about: about(name, []any{auth})})
	}
	nodes[1].addSocket(t, &talker{socket: newSocket("as deep as may be"), about: about(nested(t, msgpack.ValueDepth-1), "as deep as may be")})
	got, err := nodes[0].ns.All().FetchSockets(t.Context())
	ok(t, err)
	require.Len(t, got.List, 2*len(hostile)+1, "sockets")
	for _, s := range got.List {
		var h adapter.Handshake
		ok(t, json.Unmarshal(s.Handshake, &h))
		assert.Equal(t, "192.0.2.1", h.Address, "%s: handshake %s", s.ID, s.Handshake)
		var data string
		switch {
		case strings.HasPrefix(s.ID, "data: "):
			assert.Equal(t, "{}", string(s.Data), "%s: data of %s", s.ID, s.Handshake)
			assert.Equal(t, s.ID, "data: "+h.Auth.(string), "%s: data of %s", s.ID, s.Handshake)
		case json.Unmarshal(s.Data, &data) != nil || data != s.ID:
			t.Errorf("%s: data %s", s.ID, s.Data)
		}
		_, is := h.Auth.([]any)
		assert.Equal(t, s.ID == "as deep as may be", is, "%s: auth %v", s.ID, h.Auth)
	}
	var want []string
	for name := range hostile {
		want = append(want, "handshake of "+name, "data of data: "+name)
	}
	slices.Sort(want)
	var reported []string
	eventually(t, "everything is reported", func() bool {
		reported = nil
		for _, err := range nodes[1].errors.all() {
			var e *backplane.OpError
			require.ErrorAs(t, err, &e, "reported")
			reported = append(reported, strings.TrimPrefix(e.Op, "encode ")+" "+e.Name)
		}
		return len(reported) >= len(want)
	})
	slices.Sort(reported)
	require.Equal(t, want, reported, "reported")
}

func TestRemoteSocket(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	there := &talker{socket: newSocket("there"), answer: func(p *adapter.Packet, ack func(args ...any)) { ack("pong") }}
	nodes[1].addSocket(t, there)
	other := nodes[1].add(t, "other")
	got, err := nodes[0].ns.To("there").FetchSockets(t.Context())
	ok(t, err)
	s := got.List[0]
	ctx := t.Context()
	ok(t, s.Emit(ctx, "hello"))
	assert.Equal(t, "hello", there.next(t).Event())
	answer, err := nodes[0].ns.To(s.ID).EmitWithAck(ctx, "ping")
	ok(t, err)
	assert.Equal(t, []any{"pong"}, answer.Values)
	ok(t, s.Join(ctx, "x", "y"))
	ok(t, s.Leave(ctx, "y"))
	rooms := roomsOf(nodes[1].ns, "there")
	slices.Sort(rooms)
	require.Equal(t, []string{"there", "x"}, rooms, "rooms")
	ok(t, s.Disconnect(ctx, true))
	assert.True(t, <-there.ended, "the connection was to be closed")
	ok(t, nodes[1].ns.Emit(ctx, "end"))
	require.Empty(t, other.until(t, "end"), "other")
	nodes[1].ns.Remove("there")
	answer, err = nodes[0].ns.To(s.ID).EmitWithAck(ctx, "ping")
	ok(t, err)
	assert.Empty(t, answer.Values, "removed")
	assert.Error(t, (adapter.RemoteSocket{ID: "x"}).Join(ctx, "y"), "zero RemoteSocket: no error")
}

func TestRemoteOperations(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d})
		s := nodes[2].add(t, "s")
		ctx := t.Context()
		ok(t, nodes[0].ns.Join(ctx, "s", "x"))
		ok(t, nodes[0].ns.Join(ctx, "s", "x")) // twice is no error
		require.Equal(t, []string{"s", "x"}, roomsOf(nodes[2].ns, "s"), "joined")
		ok(t, nodes[1].ns.Leave(ctx, "s", "x"))
		require.Equal(t, []string{"s"}, roomsOf(nodes[2].ns, "s"), "left")
		for _, close := range []bool{false, true} {
			ok(t, nodes[0].ns.Disconnect(ctx, "s", close))
			assert.Equal(t, close, <-s.ended)
		}
		for what, err := range map[string]error{
			"join":       nodes[0].ns.Join(ctx, "unknown", "x"),
			"leave":      nodes[0].ns.Leave(ctx, "unknown", "x"),
			"disconnect": nodes[0].ns.Disconnect(ctx, "unknown", true),
		} {
			assert.ErrorIs(t, err, backplane.ErrNoSuchMember, what)
		}
	})
}

func TestSelections(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := populated(t, d)
		ctx := t.Context()
		in := func(room string) []string {
			t.Helper()
			c, err := nodes[0].ns.To(room).Clients(ctx)
			ok(t, err)
			return c.IDs
		}
		ok(t, nodes[0].ns.To("a").Except("n1").SocketsJoin(ctx, "x", "y"))
		require.Equal(t, []string{"a0", "a2"}, in("x"), "x")
		require.Equal(t, []string{"a0", "a2"}, in("y"), "y")
		ok(t, nodes[1].ns.To("x").SocketsLeave(ctx, "x", "both"))
		require.Empty(t, in("x"), "x")
		require.Equal(t, []string{"a1", "b0", "b1", "b2"}, in("both"), "both")
		ok(t, nodes[1].ns.All().Local().SocketsJoin(ctx, "local"))
		require.Equal(t, []string{"a1", "b1"}, in("local"), "local")
		ok(t, nodes[2].ns.All().SocketsJoin(ctx, "everyone"))
		require.Equal(t, []string{"a0", "a1", "a2", "b0", "b1", "b2"}, in("everyone"), "everyone")
		ok(t, nodes[2].ns.All().SocketsLeave(ctx, "everyone"))
		require.Empty(t, in("everyone"), "everyone")
	})
}

func TestDisconnectSockets(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d})
		var sockets []*socket
		for i, n := range nodes {
			sockets = append(sockets, n.add(t, string(rune('a'+i)), "x"))
		}
		spared := nodes[1].add(t, "spared", "x", "safe")
		ok(t, nodes[0].ns.To("x").Except("safe").DisconnectSockets(t.Context(), true))
		for _, s := range sockets {
			assert.True(t, <-s.ended, "%s: connection not closed", s.id)
		}
		ok(t, nodes[0].ns.All().DisconnectSockets(t.Context(), false))
		for _, s := range append(sockets, spared) {
			assert.False(t, <-s.ended, "%s: connection closed, or disconnected before", s.id)
		}
	})
}

// A connected node that does not respond is listed beside the responses of the others.
func TestPartialResponses(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 3, adapter.Options{Dialect: d, RequestsTimeout: 200 * time.Millisecond, Heartbeat: time.Minute, PeerTimeout: time.Hour})
		for i, n := range nodes {
			n.add(t, string(rune('a'+i)), "x")
		}
		memorytest.Freeze(nodes[2].broker)
		defer memorytest.Thaw(nodes[2].broker)
		var partial *backplane.PartialError
		got, err := nodes[0].ns.All().FetchSockets(t.Context())
		require.ErrorAs(t, err, &partial)
		require.Len(t, partial.Coverage.Missing, 1)
		require.Equal(t, nodes[2].UID(), partial.Coverage.Missing[0].Node)
		require.Equal(t, []string{"a", "b"}, ids(got.List), "sockets")
		require.Equal(t, []string{nodes[1].UID()}, got.Answered, "answered")
		_, err = nodes[0].ns.ClientRooms(t.Context(), "c")
		assert.NotErrorIs(t, err, backplane.ErrNoSuchMember, "a socket of an unresponsive node")
		assert.ErrorAs(t, err, &partial)
	})
}

// In v5 an exception needs two lists. Without the second one the sockets to leave out are
// unknown, and no socket of another node is changed.
func TestV5ChangesNothingWithoutBothLists(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 3, adapter.Options{Dialect: adapter.V5, RequestsTimeout: 100 * time.Millisecond, Heartbeat: time.Minute, PeerTimeout: time.Hour})
		there := nodes[1].add(t, "there", "x")
		spared := nodes[2].add(t, "spared", "x", "safe")
		memorytest.Freeze(nodes[2].broker)
		var partial *backplane.PartialError
		assert.ErrorAs(t, nodes[0].ns.To("x").Except("safe").DisconnectSockets(t.Context(), true), &partial)
		memorytest.Thaw(nodes[2].broker)
		// Without exceptions one list is enough.
		if err := nodes[0].ns.To("x").SocketsJoin(t.Context(), "y"); err != nil && !errors.As(err, &partial) {
			t.Errorf("got %v", err)
		}
		assert.Contains(t, roomsOf(nodes[1].ns, "there"), "y", "not joined")
		require.Empty(t, there.ended, "disconnected")
		assert.Empty(t, spared.ended, "disconnected")
	})
}

func TestCancelledContext(t *testing.T) {
	n := fleet(t, 2, adapter.Options{})[0]
	s := n.add(t, "s")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, ackErr := n.ns.All().EmitWithAck(ctx, "x")
	_, clientsErr := n.ns.All().Clients(ctx)
	_, roomsErr := n.ns.AllRooms(ctx)
	_, fetchErr := n.ns.All().FetchSockets(ctx)
	_, askErr := n.ns.ServerSideEmitWithAck(ctx, "x")
	_, customErr := n.ns.CustomRequest(ctx, 1)
	_, ofErr := n.Of(ctx, "new")
	for what, err := range map[string]error{
		"Emit": n.ns.Emit(ctx, "x"), "EmitWithAck": ackErr, "Clients": clientsErr, "AllRooms": roomsErr,
		"FetchSockets": fetchErr, "ServerSideEmitWithAck": askErr, "CustomRequest": customErr, "Of": ofErr,
		"Join": n.ns.Join(ctx, "s", "x"), "SocketsJoin": n.ns.All().SocketsJoin(ctx, "x"), "ServerSideEmit": n.ns.ServerSideEmit(ctx, "x"),
	} {
		assert.Equal(t, context.Canceled, err, what)
	}
	ok(t, n.ns.Emit(t.Context(), "end"))
	require.Empty(t, s.until(t, "end"), "delivered")
	require.Equal(t, []string{"s"}, roomsOf(n.ns, "s"), "rooms")
}

// Another socket in the room with the name of a socket's id is not mistaken for that socket.
func TestClientRoomsOfTheRightSocket(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		nodes[1].add(t, "guest", "host", "red")
		nodes[1].add(t, "host", "blue")
		rooms, err := nodes[0].ns.ClientRooms(t.Context(), "host")
		ok(t, err)
		slices.Sort(rooms)
		require.Equal(t, []string{"blue", "host"}, rooms, "rooms of host")
		_, err = nodes[0].ns.ClientRooms(t.Context(), "red")
		assert.ErrorIs(t, err, backplane.ErrNoSuchMember, "a room is no socket")
	})
}
