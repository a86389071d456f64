package backplane_test

import (
	"context"
	"fmt"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// roomLog is an observer that prints changes of rooms.
type roomLog struct{ observe.Nop }

func (roomLog) Events() observe.Events { return observe.Changes }

func (roomLog) Changed(c observe.Change) {
	if c.Room != "" && c.Room != c.Member {
		fmt.Println(c.Kind, c.Room)
	}
}

// An observer sees who joins and leaves the rooms of this node, whatever caused it, and which nodes come and go.
func ExampleOptions_changes() {
	ctx := context.Background()
	b := memorybroker.New(nil)
	node, err := backplane.New(b, &backplane.Options{Observers: []observe.Observer{roomLog{}}})
	try(err)
	game, err := node.Namespace(ctx, "game", nil)
	try(err)
	try(game.Add(ctx, &player{name: "ada"}))
	try(game.Join(ctx, "ada", "table 7"))
	game.Remove("ada")
	try(node.Close(ctx)) // waits until the observer has seen all
	try(b.Close(ctx))
	// Output:
	// room created ada
	// room created table 7
	// member joined table 7
	// member left table 7
	// room deleted table 7
	// room deleted ada
}
