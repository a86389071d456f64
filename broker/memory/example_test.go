package memorybroker_test

import (
	"context"
	"fmt"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// printer is a receiver that prints its calls, and closes a channel after n of them.
type printer struct {
	n    int
	done chan struct{}
}

func (p *printer) Deliver(ch broker.Channel, payload []byte) {
	p.say(fmt.Sprintf("%s: %s", ch.Name(), payload))
}
func (p *printer) Interrupted(err error) { p.say("interrupted: " + err.Error()) }
func (p *printer) Resumed()              { p.say("resumed") }

func (p *printer) say(s string) {
	fmt.Println(s)
	if p.n--; p.n == 0 {
		close(p.done)
	}
}

// Two nodes in one process.
func Example() {
	ctx := context.Background()
	bus := memorybroker.NewBus(nil)
	alice, bob := bus.Broker(), bus.Broker()
	defer alice.Close(ctx)
	defer bob.Close(ctx)

	p := &printer{n: 2, done: make(chan struct{})}
	if _, err := bob.Subscribe(ctx, p, broker.Native.EveryRoom("/chat")); err != nil {
		fmt.Println(err)
		return
	}
	alice.Publish(ctx, broker.Native.Room("/chat", "lobby"), []byte("hello"))
	alice.Publish(ctx, broker.Native.Room("/chat", "kitchen"), []byte("tea is ready"))
	<-p.done
	// Output:
	// lobby: hello
	// kitchen: tea is ready
}
