package presence_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/presence"
)

// server is one server process: a broker, a node and its presence.
type server struct {
	*presence.Presence
	close func()
}

func newServer(ctx context.Context, bus *memorybroker.Bus) server {
	b := bus.Broker() // or redisbroker.Open, natsbroker.Open
	node, err := backplane.New(b, nil)
	if err != nil {
		panic(err)
	}
	p, err := presence.New(ctx, node, nil)
	if err != nil {
		panic(err)
	}
	return server{p, func() { errors.Join(p.Close(ctx), node.Close(ctx), b.Close(ctx)) }}
}

func Example() {
	ctx := context.Background()
	bus := memorybroker.NewBus(nil)
	east, west := newServer(ctx, bus), newServer(ctx, bus)
	defer east.close()
	defer west.close()

	// Ana has two connections, to different servers.
	east.Join("lobby", presence.Member{ID: "socket-1", User: "ana", State: []byte("on the phone")})
	west.Join("lobby", presence.Member{ID: "socket-2", User: "ana"})
	for range east.Watch(ctx, "lobby") { // ends when the change of the other server has arrived
		if east.Connections("lobby", "ana") == 2 {
			break
		}
	}
	for _, u := range east.Room("lobby").Users() {
		fmt.Printf("%s has %d connections; the first says %q\n", u.ID, len(u.Members), u.Members[0].State)
	}
	// Output: ana has 2 connections; the first says "on the phone"
}

func ExampleNew() {
	ctx := context.Background()
	b := memorybroker.New(nil)
	node, err := backplane.New(b, nil)
	if err != nil {
		panic(err)
	}
	p, err := presence.New(ctx, node, &presence.Options{MaxRemoteBytes: 256 << 20})
	if err != nil {
		panic(err)
	}
	err = p.Join("lobby", presence.Member{ID: ""})
	fmt.Println(err)
	// Each Close ends what the next one needs no longer.
	err = errors.Join(p.Close(ctx), node.Close(ctx), b.Close(ctx))
	fmt.Println(err, p.Join("lobby", presence.Member{ID: "socket-1"}))
	// Output:
	// presence: join: ID "": empty
	// <nil> presence: closed
}

func ExamplePresence_Join() {
	ctx := context.Background()
	p := newServer(ctx, memorybroker.NewBus(nil))
	defer p.close()
	p.Join("lobby", presence.Member{ID: "socket-1", User: "ana"})
	p.Join("table 7", presence.Member{ID: "socket-1", User: "ana"})
	p.Join("lobby", presence.Member{ID: "socket-1", User: "ana", State: []byte("busy")}) // an update
	fmt.Println(p.Rooms())
	fmt.Println(p.Leave("lobby", "socket-1"), p.Leave("lobby", "socket-1"))
	fmt.Println(p.Remove("socket-1"), p.Rooms()) // the connection was closed: it leaves all rooms
	// Output:
	// [lobby table 7]
	// true false
	// 1 []
}

func ExamplePresence_Room() {
	ctx := context.Background()
	p := newServer(ctx, memorybroker.NewBus(nil))
	defer p.close()
	p.Join("lobby", presence.Member{ID: "socket-1", User: "bo"})
	p.Join("lobby", presence.Member{ID: "socket-2", User: "ana"})
	p.Join("lobby", presence.Member{ID: "socket-3", User: "ana"})
	users, members := p.Count("lobby")
	fmt.Println(users, "users with", members, "connections, of which ana has", p.Connections("lobby", "ana"))
	room := p.Room("lobby")
	fmt.Println("complete:", len(room.Missing) == 0)
	for _, u := range room.Users() {
		fmt.Println(u.ID, len(u.Members))
	}
	fmt.Println(p.Stats().Members, "members on all servers")
	// Output:
	// 2 users with 3 connections, of which ana has 2
	// complete: true
	// ana 2
	// bo 1
	// 3 members on all servers
}

// A server that starts waits for the members of the others before it accepts clients.
func ExamplePresence_AwaitSync() {
	ctx := context.Background()
	bus := memorybroker.NewBus(nil)
	east := newServer(ctx, bus)
	defer east.close()
	east.Join("lobby", presence.Member{ID: "socket-1", User: "ana"})

	west := newServer(ctx, bus)
	defer west.close()
	if err := west.AwaitSync(ctx); err != nil { // the context's error: Room.Missing has the nodes that are missing
		panic(err)
	}
	fmt.Println(west.Connections("lobby", "ana"))
	// Output: 1
}

func ExamplePresence_Watch() {
	ctx := context.Background()
	p := newServer(ctx, memorybroker.NewBus(nil))
	defer p.close()
	for c := range p.Watch(ctx, "lobby") {
		switch c.Kind {
		case presence.Snapshot: // the first, and again after a slow loop has missed changes
			fmt.Println(len(c.Room.Users()), "users,", c.Missed, "changes missed")
			p.Join("lobby", presence.Member{ID: "socket-1", User: "ana"})
		case presence.Joined:
			fmt.Println(c.Member.User, "came:", c.Connections == 1) // and did not only open another connection
			p.Join("lobby", presence.Member{ID: "socket-1", User: "ana", State: []byte("busy")})
		case presence.Updated:
			fmt.Printf("%s is %s\n", c.Member.User, c.Member.State)
			p.Remove("socket-1")
		case presence.Left:
			fmt.Println(c.Member.User, "left:", c.Connections == 0)
			return
		}
	}
	// Output:
	// 0 users, 0 changes missed
	// ana came: true
	// ana is busy
	// ana left: true
}
