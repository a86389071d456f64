package backplane_test

import (
	"context"
	"fmt"
	"time"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// A deployment replaces a node. Its members leave, 100 of them in a second, and then the node leaves its fleet.
func ExampleNode_Drain() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b := memorybroker.New(nil)
	node, err := backplane.New(b, nil)
	try(err)
	game, err := node.Namespace(ctx, "game", nil)
	try(err)
	for i := range 10 {
		try(game.Add(ctx, &player{name: fmt.Sprint("player ", i)}))
	}
	err = node.Drain(ctx, 100, func(ns *backplane.Namespace, m backplane.Member) {
		m.Disconnect(true)
		ns.Remove(m.ID()) // usually where the connection's reader ends
	})
	fmt.Println(err, game.Len())
	try(b.Close(ctx))
	// Output: <nil> 0
}
