package memorytest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// printer is a receiver that prints its calls, and closes done after n of them.
type printer struct {
	n    int
	done chan struct{}
}

func (p *printer) Deliver(ch broker.Channel, payload []byte) {
	p.print(ch.Name() + ": " + string(payload))
}
func (p *printer) Interrupted(err error) { p.print("interrupted: " + err.Error()) }
func (p *printer) Resumed()              { p.print("resumed") }

func (p *printer) print(s string) {
	fmt.Println(s)
	if p.n--; p.n == 0 {
		close(p.done)
	}
}

// A node loses its connection. Its receiver is notified in the place of the gap. The messages that the node publishes
// meanwhile are sent afterwards.
func ExampleCut() {
	ctx := context.Background()
	bus := memorybroker.NewBus(nil)
	alice, bob := bus.Broker(), bus.Broker()
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	room := broker.Native.Room("/chat", "lobby")
	p := &printer{n: 4, done: make(chan struct{})}
	if _, err := bob.Subscribe(ctx, p, broker.Exactly(room)); err != nil {
		fmt.Println(err)
		return
	}
	alice.Publish(ctx, room, []byte("can you hear me?"))
	memorytest.Cut(bob, errors.New("tunnel ahead"))
	alice.Publish(ctx, room, []byte("hello?"))
	bob.Publish(ctx, room, []byte("I was in a tunnel"))
	memorytest.Heal(bob)
	<-p.done
	// Output:
	// lobby: can you hear me?
	// interrupted: tunnel ahead
	// resumed
	// lobby: I was in a tunnel
}
