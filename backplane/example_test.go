package backplane_test

import (
	"context"
	"fmt"
	"log"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// player is a member: whatever takes messages. Its channel stands for a connection.
type player struct {
	name string
	in   chan []byte
}

func (p *player) ID() string                   { return p.name }
func (p *player) Deliver(m *backplane.Message) { p.in <- m.Payload }
func (p *player) Disconnect(bool)              {}

// Two nodes, a player on each, and payloads that only the application understands.
func Example() {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	var nodes []*backplane.Namespace
	var players []*player
	for _, name := range []string{"ada", "bob"} {
		b := bus.Broker()
		defer b.Close(ctx)
		node, err := backplane.New(b, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer node.Close(ctx)
		game, err := node.Namespace(ctx, "game", nil)
		if err != nil {
			log.Fatal(err)
		}
		p := &player{name: name, in: make(chan []byte, 1)}
		if err := game.Add(ctx, p); err != nil {
			log.Fatal(err)
		}
		nodes, players = append(nodes, game), append(players, p)
	}

	// Members of any node can be put into rooms, by their ids.
	for _, p := range players {
		if err := nodes[0].Join(ctx, p.name, "table 7"); err != nil {
			log.Fatal(err)
		}
	}
	move := []byte{0x00, 0x2a, 0xff}
	if err := nodes[0].Broadcast(ctx, move, backplane.To("table 7").Except("ada")); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("bob gets % x\n", <-players[1].in)

	members, err := nodes[1].Members(ctx, backplane.To("table 7"))
	if err != nil {
		log.Fatal(err) // or, with a *PartialError, use what is in members
	}
	fmt.Println(len(members.List), "at the table,", len(members.Missing), "nodes missing")
	// Output:
	// bob gets 00 2a ff
	// 2 at the table, 0 nodes missing
}
