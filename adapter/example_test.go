package adapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// printer stands for a client's connection.
type printer string

func (p printer) ID() string { return string(p) }

func (p printer) Deliver(packet *adapter.Packet) {
	// A WebSocket server would push packet.Frames() into an outgoing.Queue.
	fmt.Printf("%s gets %s\n", p, packet.Frames().Text)
}

func (p printer) DeliverWithAck(packet *adapter.Packet, ack func(args ...any)) {
	p.Deliver(packet)
	ack(string(p) + " says yes")
}

func (p printer) Disconnect(close bool) {}

// twoServers are on one bus; with Redis each would have a broker made by
// redisbroker.Open. Both have the namespace /chat.
func twoServers() (first, second *adapter.Namespace, stop func()) {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	var servers []*adapter.Server
	var spaces []*adapter.Namespace
	for range 2 {
		server, err := adapter.New(bus.Broker(), &adapter.Options{
			CustomHook: func(_ context.Context, ns *adapter.Namespace, data json.RawMessage) (any, error) {
				return ns.Len(), nil
			},
		})
		if err != nil {
			log.Fatal(err)
		}
		chat, err := server.Of(ctx, "/chat")
		if err != nil {
			log.Fatal(err)
		}
		servers, spaces = append(servers, server), append(spaces, chat)
	}
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, s := range servers {
		if _, err := s.AwaitPeers(waiting, 1); err != nil {
			log.Fatal(err)
		}
	}
	return spaces[0], spaces[1], func() {
		for _, s := range servers {
			s.Close(ctx)
			s.Broker().Close(ctx)
		}
	}
}

func Example() {
	ctx := context.Background()
	first, second, stop := twoServers()
	defer stop()

	second.Add(ctx, printer("ada"))
	first.Add(ctx, printer("bob"))
	first.Join(ctx, "bob", "lobby")
	first.Join(ctx, "ada", "lobby") // ada is on the other server

	who, err := second.To("lobby").FetchSockets(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range who.List {
		fmt.Println(s.ID, "is in the lobby")
	}
	if err := first.To("lobby").Except("ada").Emit(ctx, "hello", "world", 42); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ada is in the lobby
	// bob is in the lobby
	// bob gets 2/chat,["hello","world",42]
}

func ExampleOperator_EmitWithAck() {
	ctx := context.Background()
	first, second, stop := twoServers()
	defer stop()
	second.Add(ctx, printer("ada"))

	acks, err := first.To("ada").EmitWithAck(ctx, "ready?")
	if err != nil {
		log.Fatal(err) // or use the acknowledgements in acks
	}
	fmt.Println(acks.Values)
	// Output:
	// ada gets 2/chat,["ready?"]
	// [ada says yes]
}

func ExampleNamespace_CustomRequest() {
	ctx := context.Background()
	first, second, stop := twoServers()
	defer stop()
	second.Add(ctx, printer("ada"))

	replies, err := first.CustomRequest(ctx, "how many sockets?")
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range replies.List {
		fmt.Printf("%s\n", r.Data)
	}
	// Output:
	// 0
	// 1
}

func ExampleNamespace_OnServerSideEmit() {
	ctx := context.Background()
	first, second, stop := twoServers()
	defer stop()

	second.OnServerSideEmit("sum", func(_ context.Context, e *adapter.ServerEvent) {
		var a, b int
		if err := adapter.BindArgs(e.Args, &a, &b); err != nil {
			return
		}
		e.Ack(a + b)
	})
	replies, err := first.ServerSideEmitWithAck(ctx, "sum", 1, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", replies.List[0].Data)
	// Output: 3
}

func ExamplePacket_Bind() {
	first, _, stop := twoServers()
	defer stop()
	first.Add(context.Background(), binder{"ada"})
	err := first.Emit(context.Background(), "move", map[string]int{"x": 1, "y": 2}, []string{"fast"})
	if err != nil {
		log.Fatal(err)
	}
	// Output: {1 2} [fast]
}

type binder struct{ printer }

func (binder) Deliver(p *adapter.Packet) {
	var to struct{ X, Y int }
	var how []string
	if err := p.Bind(&to, &how); err != nil {
		log.Print(err)
	}
	fmt.Println(to, how)
}

func ExampleEmitter() {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	server, err := adapter.New(bus.Broker(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close(ctx)
	root, err := server.Of(ctx, "/")
	if err != nil {
		log.Fatal(err)
	}
	arrived := make(chanSocket)
	root.Add(ctx, arrived)

	emitter, err := adapter.NewEmitter(bus.Broker(), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := emitter.To("ada").Emit(ctx, "invoice", 17); err != nil {
		log.Fatal(err)
	}
	if err := emitter.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	p := <-arrived
	fmt.Println(p.Origin(), p.Event(), p.Args())
	// Output: emitter invoice [17]
}

type chanSocket chan *adapter.Packet

func (chanSocket) ID() string                  { return "ada" }
func (c chanSocket) Deliver(p *adapter.Packet) { c <- p }
func (chanSocket) Disconnect(bool)             {}

// Operators are values: keep one, and build on it.
func ExampleNamespace_To() {
	ctx := context.Background()
	first, _, stop := twoServers()
	defer stop()
	for _, id := range []string{"ada", "bob"} {
		first.Add(ctx, printer(id))
		first.Join(ctx, id, "lobby")
	}
	lobby := first.To("lobby")
	for _, id := range slices.Backward([]string{"ada", "bob"}) {
		lobby.Except(id).Emit(ctx, "left", id)
	}
	// Output:
	// ada gets 2/chat,["left","bob"]
	// bob gets 2/chat,["left","ada"]
}
