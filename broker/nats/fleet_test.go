package natsbroker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// client is a socket that acknowledges events.
type client struct {
	id   string
	ns   *adapter.Namespace
	seen chan string
}

func (c *client) ID() string                { return c.id }
func (c *client) Deliver(p *adapter.Packet) { c.seen <- fmt.Sprint(c.id, " ", p.Event(), p.Args()) }
func (c *client) DeliverWithAck(p *adapter.Packet, ack func(args ...any)) {
	c.Deliver(p)
	ack("ack of " + c.id)
}
func (c *client) Disconnect(bool) {
	c.ns.Remove(c.id)
	c.seen <- c.id + " disconnected"
}

// TestFleet runs a fleet of Socket.IO servers, each on a server of its own of a NATS
// cluster: every operation, then every query with one node frozen.
func TestFleet(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	cluster := servers.StartNATSCluster(t, nil)
	ctx := within(t, time.Minute)
	seen := make(chan string, 1000)
	var nodes []*adapter.Server
	var chats []*adapter.Namespace
	var ids []string
	var proxies []*tcpproxy.Proxy
	for i, name := range []string{"north", "south", "east"} {
		by := detours{}
		for _, n := range cluster.Nodes {
			p := tcpproxy.Start(t, n.Addr())
			by[n.Addr()] = p.Addr()
			if i == 2 {
				proxies = append(proxies, p)
			}
		}
		opts := quick()
		opts.ProbeTimeout = patience // so that brokers do not notice the freeze
		opts.NATS = append(opts.NATS, dialBy(by))
		b := open(t, cluster.Nodes[i].URL(), opts)
		server, err := adapter.New(b, &adapter.Options{
			Name: name, RequestsTimeout: timeout, PeerTimeout: time.Minute, OnError: func(err error) { t.Logf("%s: %v", name, err) },
			CustomHook: func(_ context.Context, ns *adapter.Namespace, data json.RawMessage) (any, error) {
				return fmt.Sprintf("%s has %d for %s", name, ns.Len(), data), nil
			},
		})
		require.NoError(t, err)
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			server.Close(ctx)
		}()
		chat, err := server.Of(ctx, "/chat")
		require.NoError(t, err)
		_, err = chat.OnServerSideEmit("hi", func(_ context.Context, e *adapter.ServerEvent) { _ = e.Ack(name) })
		require.NoError(t, err)
		nodes, chats, ids = append(nodes, server), append(chats, chat), append(ids, server.UID())
	}
	for _, n := range nodes {
		require.Eventually(t, func() bool { return len(n.KnownPeers()) >= 2 }, patience, time.Millisecond, "the nodes do not know each other")
	}
	for i, id := range []string{"alice", "bob", "carol"} {
		require.NoError(t, chats[i].Add(ctx, &client{id, chats[i], seen}))
	}
	heard := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			select {
			case s := <-seen:
				got = append(got, s)
			case <-ctx.Done():
				t.Fatalf("got only %q, want %q", got, want)
			}
		}
		require.ElementsMatch(t, want, got)
	}
	north := chats[0]

	require.NoError(t, north.Join(ctx, "carol", "lobby"))
	require.NoError(t, north.To("bob").SocketsJoin(ctx, "lobby", "a.b > *"))
	rooms, err := north.ClientRooms(ctx, "bob")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a.b > *", "bob", "lobby"}, rooms, "ClientRooms")
	require.NoError(t, north.Emit(ctx, "all", 1))
	heard("alice all[1]", "bob all[1]", "carol all[1]")
	require.NoError(t, north.To("lobby").Except("a.b > *").Emit(ctx, "lobby"))
	heard("carol lobby[]")
	require.NoError(t, north.To("a.b > *").Emit(ctx, "odd"))
	heard("bob odd[]")
	acks, err := north.All().EmitWithAck(ctx, "ask")
	require.NoError(t, err)
	heard("alice ask[]", "bob ask[]", "carol ask[]")
	require.Len(t, acks.Values, 3, "EmitWithAck")
	require.Equal(t, 3, acks.Expected, "EmitWithAck")
	clients, err := north.To("lobby").Clients(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"bob", "carol"}, clients.IDs, "Clients")
	sockets, err := north.All().FetchSockets(ctx)
	require.NoError(t, err)
	for i, s := range sockets.List {
		require.Equal(t, []string{"alice", "bob", "carol"}[i], s.ID, "FetchSockets: %+v", sockets.List)
		require.Equal(t, ids[i], s.Node, "FetchSockets: %+v", sockets.List)
	}
	all, err := north.AllRooms(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a.b > *", "alice", "bob", "carol", "lobby"}, all.List, "AllRooms")
	replies, err := north.CustomRequest(ctx, "x")
	require.NoError(t, err)
	require.Len(t, replies.List, 3, "CustomRequest: %+v", replies)
	replies, err = north.ServerSideEmitWithAck(ctx, "hi")
	require.NoError(t, err, "ServerSideEmitWithAck: %+v", replies)
	require.Len(t, replies.List, 2, "ServerSideEmitWithAck: %+v", replies)
	n, err := north.ServerCount(ctx)
	require.NoError(t, err)
	require.Equal(t, 3, n, "ServerCount")
	require.NoError(t, north.Leave(ctx, "bob", "a.b > *"))
	require.NoError(t, north.To("lobby").SocketsLeave(ctx, "lobby"))
	clients, err = north.To("lobby", "a.b > *").Clients(ctx)
	require.NoError(t, err, "after leaving: %+v", clients)
	require.Empty(t, clients.IDs, "after leaving: %+v", clients)
	require.ErrorIs(t, north.Join(ctx, "absent", "x"), backplane.ErrNoSuchMember, "RemoteJoin of an unknown member")
	require.NoError(t, north.Disconnect(ctx, "bob", true))
	heard("bob disconnected")

	// East receives and sends nothing, and no node is notified.
	for _, p := range proxies {
		p.HalfOpen()
	}
	for _, q := range []struct {
		name string
		ask  func() error
	}{
		{"Clients", func() error { _, err := north.All().Clients(ctx); return err }},
		{"FetchSockets", func() error { _, err := north.All().FetchSockets(ctx); return err }},
		{"AllRooms", func() error { _, err := north.AllRooms(ctx); return err }},
		{"CustomRequest", func() error { _, err := north.CustomRequest(ctx, 1); return err }},
		{"ServerSideEmitWithAck", func() error { _, err := north.ServerSideEmitWithAck(ctx, "hi"); return err }},
		{"EmitWithAck", func() error { _, err := north.All().Timeout(timeout).EmitWithAck(ctx, "ask"); return err }},
		{"SocketsJoin", func() error { return north.All().SocketsJoin(ctx, "late") }},
		{"SocketsLeave", func() error { return north.All().SocketsLeave(ctx, "late") }},
		{"ClientRooms", func() error { _, err := north.ClientRooms(ctx, "carol"); return err }},
		{"RemoteJoin", func() error { return north.Join(ctx, "carol", "x") }},
		{"RemoteDisconnect", func() error { return north.Disconnect(ctx, "carol", true) }},
	} {
		start := time.Now()
		err := q.ask()
		var partial *backplane.PartialError
		if assert.ErrorAs(t, err, &partial, "%s with east frozen", q.name) && assert.Len(t, partial.Coverage.Missing, 1, q.name) {
			assert.Equal(t, ids[2], partial.Coverage.Missing[0].Node, q.name)
			assert.Equal(t, ids[1:2], partial.Coverage.Answered, q.name)
			t.Logf("%s: missing east (%v) after %v", q.name, partial.Coverage.Missing[0].Reason, time.Since(start).Round(time.Millisecond))
		}
		assert.LessOrEqual(t, time.Since(start), 4*timeout, q.name)
	}
	for _, p := range proxies {
		p.Heal()
	}
	for {
		if sockets, err = north.All().FetchSockets(ctx); err == nil {
			break
		}
		require.NoError(t, ctx.Err(), "east has not returned: %v", err)
	}
	require.LessOrEqual(t, len(sockets.List), 2, "FetchSockets: %+v", sockets.List)
}
