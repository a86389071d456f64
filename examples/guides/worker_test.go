package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// invoiced sends the number of an invoice to a customer's sockets, on any node.
func invoiced(ctx context.Context, b broker.Broker, customer string, number int) error {
	emitter, err := adapter.NewEmitter(b, nil)
	if err != nil {
		return err
	}
	if err := emitter.Of("/shop").To(customer).Emit(ctx, "invoice", number); err != nil {
		return err // the broker did not accept it
	}
	return emitter.Flush(ctx) // nil: the broker's system has it
}

// moved is the same for package backplane: bytes to the members of a room.
func moved(ctx context.Context, b broker.Broker, table string, move []byte) error {
	emitter, err := backplane.NewEmitter(b, nil)
	if err != nil {
		return err
	}
	if err := emitter.Broadcast(ctx, "game", move, backplane.To(table)); err != nil {
		return err
	}
	return emitter.Flush(ctx)
}

// customer is a socket and a member that passes on what it gets.
type customer struct{ got chan string }

func (customer) ID() string      { return "ada" }
func (customer) Disconnect(bool) {}

type shopper struct{ customer }

func (c shopper) Deliver(p *adapter.Packet) { c.got <- fmt.Sprint(p.Event(), p.Args()) }

type player struct{ customer }

func (c player) Deliver(m *backplane.Message) { c.got <- string(m.Payload) }

func Example_worker() {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	got := make(chan string, 1)
	shop, err := adapter.New(bus.Broker(), nil)
	if err != nil {
		log.Fatal(err)
	}
	customers, err := shop.Of(ctx, "/shop")
	if err != nil {
		log.Fatal(err)
	}
	games, err := backplane.New(bus.Broker(), nil)
	if err != nil {
		log.Fatal(err)
	}
	players, err := games.Namespace(ctx, "game", nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(customers.Add(ctx, shopper{customer{got}}), players.Add(ctx, player{customer{got}})); err != nil {
		log.Fatal(err)
	}

	b := bus.Broker() // the worker's own
	if err := invoiced(ctx, b, "ada", 17); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-got)
	if err := moved(ctx, b, "ada", []byte("e2 e4")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-got)
	for _, c := range []interface{ Close(context.Context) error }{b, shop, games} {
		if err := c.Close(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// invoice[17]
	// e2 e4
}
