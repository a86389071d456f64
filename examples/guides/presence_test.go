package guides_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/presence"
)

// entered is called when a connection of a user has entered a room, and left when the connection was closed.
func entered(p *presence.Presence, room, connection, user, status string) error {
	return p.Join(room, presence.Member{ID: connection, User: user, State: []byte(status)})
}

func left(p *presence.Presence, connection string) { p.Remove(connection) }

// online is what a client gets: all users of the room, or one that came or left.
type online struct {
	Users []string `json:"users,omitempty"`
	Came  string   `json:"came,omitempty"`
	Left  string   `json:"left,omitempty"`
}

// show sends the clients of this server in a room who is there, until ctx ends. One loop for each room is enough.
func show(ctx context.Context, p *presence.Presence, ns *backplane.Namespace, room string) {
	for c := range p.Watch(ctx, room) {
		var o online
		switch {
		case c.Kind == presence.Snapshot: // the first, and after this loop was too slow
			for _, u := range c.Room.Users() {
				o.Users = append(o.Users, u.ID)
			}
		case c.Kind == presence.Joined && c.Connections == 1:
			o.Came = c.Member.User
		case c.Kind == presence.Left && c.Connections == 0:
			o.Left = c.Member.User
		default:
			continue // another connection of the same user, or another status
		}
		payload, _ := json.Marshal(o)
		ns.Broadcast(ctx, payload, backplane.To(room).Local()) // each server sends it to its own clients
	}
}

// absent returns the users that a message to a room does not reach, such as for a push notification.
func absent(p *presence.Presence, room string, users []string) []string {
	return slices.DeleteFunc(slices.Clone(users), func(user string) bool { return p.Connections(room, user) > 0 })
}

type screen struct{ lines chan string }

func (s screen) ID() string                   { return "screen" }
func (s screen) Deliver(m *backplane.Message) { s.lines <- string(m.Payload) }
func (s screen) Disconnect(bool)              {}

func Example_presence() {
	ctx, cancel := context.WithCancel(context.Background())
	bus := memorybroker.NewBus(nil)
	var servers [2]*presence.Presence
	var nodes [2]*backplane.Node
	for i := range servers {
		b := bus.Broker()
		node, err := backplane.New(b, nil)
		if err != nil {
			panic(err)
		}
		p, err := presence.New(ctx, node, nil)
		if err != nil {
			panic(err)
		}
		servers[i], nodes[i] = p, node
		defer func() {
			end := context.Background()
			errors.Join(p.Close(end), node.Close(end), b.Close(end)) // in this order
		}()
	}
	defer cancel()
	for _, p := range servers {
		if err := p.AwaitSync(ctx); err != nil { // before the server accepts clients
			panic(err)
		}
	}
	ns, err := nodes[0].Namespace(ctx, "chat", nil)
	if err != nil {
		panic(err)
	}
	client := screen{make(chan string, 16)}
	ns.Add(ctx, client)
	ns.Join(ctx, "screen", "lobby")

	go show(ctx, servers[0], ns, "lobby")
	fmt.Println(<-client.lines)
	entered(servers[1], "lobby", "socket-1", "ana", "here") // on another server
	fmt.Println(<-client.lines)
	entered(servers[1], "lobby", "socket-2", "ana", "here")
	fmt.Println(absent(servers[1], "lobby", []string{"ana", "bo"}))
	left(servers[1], "socket-1")
	left(servers[1], "socket-2")
	fmt.Println(<-client.lines)
	// Output:
	// {}
	// {"came":"ana"}
	// [bo]
	// {"left":"ana"}
}
