package natsbroker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// client is a socket that answers what it is asked.
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
// cluster: every operation, then every question with one node frozen.
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
		opts.ProbeTimeout = patience // the freeze is not to be noticed
		opts.NATS = append(opts.NATS, dialBy(by))
		b := open(t, cluster.Nodes[i].URL(), opts)
		server, err := adapter.New(b, &adapter.Options{
			Name: name, RequestsTimeout: timeout, PeerTimeout: time.Minute, OnError: func(err error) { t.Logf("%s: %v", name, err) },
			CustomHook: func(_ context.Context, ns *adapter.Namespace, data json.RawMessage) (any, error) {
				return fmt.Sprintf("%s has %d for %s", name, ns.Len(), data), nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			server.Close(ctx)
		}()
		chat, err := server.Of(ctx, "/chat")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chat.OnServerSideEmit("hi", func(_ context.Context, e *adapter.ServerEvent) { _ = e.Ack(name) }); err != nil {
			t.Fatal(err)
		}
		nodes, chats, ids = append(nodes, server), append(chats, chat), append(ids, server.UID())
	}
	for _, n := range nodes {
		for len(n.KnownPeers()) < 2 {
			select {
			case <-ctx.Done():
				t.Fatal("the nodes do not meet")
			case <-time.After(time.Millisecond):
			}
		}
	}
	for i, id := range []string{"alice", "bob", "carol"} {
		if err := chats[i].Add(&client{id, chats[i], seen}); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
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
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	north := chats[0]
	same := func(what string, got, want []string) {
		t.Helper()
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Fatalf("%s: %q, want %q", what, got, want)
		}
	}

	must(north.RemoteJoin(ctx, "carol", "lobby"))
	must(north.To("bob").SocketsJoin(ctx, "lobby", "a.b > *"))
	rooms, err := north.ClientRooms(ctx, "bob")
	must(err)
	same("ClientRooms", rooms, []string{"a.b > *", "bob", "lobby"})
	must(north.Emit(ctx, "all", 1))
	heard("alice all[1]", "bob all[1]", "carol all[1]")
	must(north.To("lobby").Except("a.b > *").Emit(ctx, "lobby"))
	heard("carol lobby[]")
	must(north.To("a.b > *").Emit(ctx, "odd"))
	heard("bob odd[]")
	acks, err := north.EmitWithAck(ctx, "ask")
	must(err)
	heard("alice ask[]", "bob ask[]", "carol ask[]")
	if len(acks.Values) != 3 || acks.Expected != 3 {
		t.Fatalf("EmitWithAck: %+v", acks)
	}
	clients, err := north.Clients(ctx, "lobby")
	must(err)
	same("Clients", clients.IDs, []string{"bob", "carol"})
	sockets, err := north.FetchSockets(ctx)
	must(err)
	for i, s := range sockets.List {
		if s.ID != []string{"alice", "bob", "carol"}[i] || s.Node != ids[i] {
			t.Fatalf("FetchSockets: %+v", sockets.List)
		}
	}
	all, err := north.AllRooms(ctx)
	must(err)
	same("AllRooms", all.Rooms, []string{"a.b > *", "alice", "bob", "carol", "lobby"})
	replies, err := north.CustomRequest(ctx, "x")
	must(err)
	if len(replies.List) != 3 {
		t.Fatalf("CustomRequest: %+v", replies)
	}
	if replies, err = north.ServerSideEmitWithAck(ctx, "hi"); err != nil || len(replies.List) != 2 {
		t.Fatalf("ServerSideEmitWithAck: %+v, %v", replies, err)
	}
	if n, err := north.ServerCount(ctx); err != nil || n != 3 {
		t.Fatalf("ServerCount: %d, %v", n, err)
	}
	must(north.RemoteLeave(ctx, "bob", "a.b > *"))
	must(north.To("lobby").SocketsLeave(ctx, "lobby"))
	if clients, err = north.Clients(ctx, "lobby", "a.b > *"); err != nil || len(clients.IDs) != 0 {
		t.Fatalf("after leaving: %+v, %v", clients, err)
	}
	if err := north.RemoteJoin(ctx, "nobody", "x"); !errors.Is(err, backplane.ErrNoSuchMember) {
		t.Fatalf("RemoteJoin of nobody: %v", err)
	}
	must(north.RemoteDisconnect(ctx, "bob", true))
	heard("bob disconnected")

	// East gets nothing and says nothing, and nobody is told so.
	for _, p := range proxies {
		p.HalfOpen()
	}
	for _, q := range []struct {
		name string
		ask  func() error
	}{
		{"Clients", func() error { _, err := north.Clients(ctx); return err }},
		{"FetchSockets", func() error { _, err := north.FetchSockets(ctx); return err }},
		{"AllRooms", func() error { _, err := north.AllRooms(ctx); return err }},
		{"CustomRequest", func() error { _, err := north.CustomRequest(ctx, 1); return err }},
		{"ServerSideEmitWithAck", func() error { _, err := north.ServerSideEmitWithAck(ctx, "hi"); return err }},
		{"EmitWithAck", func() error { _, err := north.Timeout(timeout).EmitWithAck(ctx, "ask"); return err }},
		{"SocketsJoin", func() error { return north.SocketsJoin(ctx, "late") }},
		{"SocketsLeave", func() error { return north.SocketsLeave(ctx, "late") }},
		{"ClientRooms", func() error { _, err := north.ClientRooms(ctx, "carol"); return err }},
		{"RemoteJoin", func() error { return north.RemoteJoin(ctx, "carol", "x") }},
		{"RemoteDisconnect", func() error { return north.RemoteDisconnect(ctx, "carol", true) }},
	} {
		start := time.Now()
		err := q.ask()
		var partial *backplane.PartialError
		if !errors.As(err, &partial) || len(partial.Coverage.Missing) != 1 || partial.Coverage.Missing[0].Node != ids[2] ||
			!slices.Equal(partial.Coverage.Answered, ids[1:2]) {
			t.Errorf("%s with east frozen: %v, want that east is missing", q.name, err)
		} else {
			t.Logf("%s: missing east (%v) after %v", q.name, partial.Coverage.Missing[0].Reason, time.Since(start).Round(time.Millisecond))
		}
		if took := time.Since(start); took > 4*timeout {
			t.Errorf("%s took %v", q.name, took)
		}
	}
	for _, p := range proxies {
		p.Heal()
	}
	for {
		if sockets, err = north.FetchSockets(ctx); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("east is not back: %v", err)
		}
	}
	if len(sockets.List) > 2 {
		t.Fatalf("FetchSockets: %+v", sockets.List)
	}
}
