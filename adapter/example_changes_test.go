package adapter_test

import (
	"context"
	"fmt"
	"log"

	"github.com/crossroom/crossroom/adapter"
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

// An observer sees the events create-room, join-room, leave-room and delete-room of Socket.IO, and which servers come
// and go.
func ExampleOptions_changes() {
	ctx := context.Background()
	b := memorybroker.New(nil)
	server, err := adapter.New(b, &adapter.Options{Observers: []observe.Observer{roomLog{}}})
	if err != nil {
		log.Fatal(err)
	}
	chat, err := server.Of(ctx, "/chat")
	if err != nil {
		log.Fatal(err)
	}
	chat.Add(ctx, printer("ada"))
	chat.Join(ctx, "ada", "news")
	chat.Remove("ada")
	server.Close(ctx) // waits until the observer has seen all
	b.Close(ctx)
	// Output:
	// room created ada
	// room created news
	// member joined news
	// member left news
	// room deleted news
	// room deleted ada
}
