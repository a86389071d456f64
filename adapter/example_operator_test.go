package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// inLobby is two servers: ada and bob are on the first one, eve and ivy on the second one. All but ivy are in the lobby.
func inLobby() (first, second *adapter.Namespace, stop func()) {
	ctx := context.Background()
	first, second, stop = twoServers()
	for _, id := range []string{"ada", "bob"} {
		check(first.Add(ctx, printer(id)))
		check(first.Join(ctx, id, "lobby"))
	}
	check(second.Add(ctx, printer("eve")))
	check(second.Join(ctx, "eve", "lobby"))
	check(second.Add(ctx, printer("ivy")))
	return first, second, stop
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// selected returns the sorted ids of the sockets that an operator selects. A server responds after it has delivered earlier
// messages, so the examples also use this to wait for the other server.
func selected(o adapter.Operator) (list []string) {
	sockets, err := o.FetchSockets(context.Background())
	check(err)
	for _, s := range sockets.List {
		list = append(list, s.ID)
	}
	return list
}

func ExampleOperator_To() {
	first, _, stop := inLobby()
	defer stop()
	lobby := first.To("lobby") // a value: keep it, and build on it
	fmt.Println(selected(lobby))
	fmt.Println(selected(lobby.To("ivy"))) // or in another room, here that of an id
	// Output:
	// [ada bob eve]
	// [ada bob eve ivy]
}

// In all of the rooms, not in any of them.
func ExampleOperator_InAll() {
	first, _, stop := inLobby()
	defer stop()
	check(first.Join(context.Background(), "eve", "beta"))
	fmt.Println(selected(first.All().InAll("lobby", "beta")))
	// Output: [eve]
}

func ExampleOperator_Count() {
	first, _, stop := inLobby()
	defer stop()
	n, err := first.To("lobby").Count(context.Background())
	check(err) // without an error all servers have counted
	fmt.Println(n.Total, "sockets,", n.ByNode[first.Server().UID()], "of this server")
	// Output: 3 sockets, 2 of this server
}

func ExampleOperator_LocalSockets() {
	first, _, stop := inLobby()
	defer stop()
	for s := range first.To("lobby").Except("bob").LocalSockets() {
		fmt.Println(s.ID())
	}
	// Output: ada
}

func ExampleOperator_CountLocal() {
	first, _, stop := inLobby()
	defer stop()
	var here int
	check(first.To("lobby").CountLocal(&here).Emit(context.Background(), "hello"))
	fmt.Println(here, "of this server")
	selected(first.All()) // wait
	// Unordered output:
	// ada gets 2/chat,["hello"]
	// bob gets 2/chat,["hello"]
	// eve gets 2/chat,["hello"]
	// 2 of this server
}

// To broadcast from a socket, leave out its id.
func ExampleOperator_Except() {
	first, _, stop := inLobby()
	defer stop()
	check(first.To("lobby").Except("bob", "eve").Emit(context.Background(), "hello"))
	// Output: ada gets 2/chat,["hello"]
}

func ExampleOperator_Local() {
	first, second, stop := inLobby()
	defer stop()
	fmt.Println(selected(first.To("lobby").Local()), selected(second.To("lobby").Local()))
	// Output: [ada bob] [eve]
}

func ExampleOperator_Remote() {
	first, _, stop := inLobby()
	defer stop()
	check(first.To("lobby").Remote().Emit(context.Background(), "hello"))
	selected(first.To("lobby")) // wait
	// Output: eve gets 2/chat,["hello"]
}

// flags prints what an outgoing.Queue and a WebSocket server need of a packet.
type flags struct{ printer }

func (flags) Deliver(p *adapter.Packet) {
	fmt.Println(p.Event(), "may be dropped:", p.Volatile(), "compress:", p.Compress())
}

func ExampleOperator_Volatile() {
	ctx := context.Background()
	first, _, stop := twoServers()
	defer stop()
	check(first.Add(ctx, flags{"ada"}))
	check(first.To("ada").Volatile().Emit(ctx, "position", 1, 2))
	// Output: position may be dropped: true compress: true
}

func ExampleOperator_Compress() {
	ctx := context.Background()
	first, _, stop := twoServers()
	defer stop()
	check(first.Add(ctx, flags{"ada"}))
	check(first.To("ada").Compress(false).Emit(ctx, "picture", []byte("\x89PNG")))
	// Output: picture may be dropped: false compress: false
}

// unresponsive is a client that never acknowledges.
type unresponsive struct{ printer }

func (unresponsive) DeliverWithAck(*adapter.Packet, func(args ...any)) {}

func ExampleOperator_Timeout() {
	ctx := context.Background()
	first, _, stop := twoServers()
	defer stop()
	check(first.Add(ctx, unresponsive{"ada"}))
	acks, err := first.To("ada").Timeout(10*time.Millisecond).EmitWithAck(ctx, "ready?")
	fmt.Println(len(acks.Values), "of", acks.Expected, errors.Is(err, context.DeadlineExceeded))
	// Output: 0 of 1 true
}

func ExampleOperator_Emit() {
	ctx := context.Background()
	first, _, stop := twoServers()
	defer stop()
	check(first.Add(ctx, printer("ada")))
	check(first.To("ada").Emit(ctx, "move", map[string]int{"x": 1}, []string{"fast"}))
	// Output: ada gets 2/chat,["move",{"x":1},["fast"]]
}

func ExampleOperator_FetchSockets() {
	first, _, stop := inLobby()
	defer stop()
	sockets, err := first.To("lobby").FetchSockets(context.Background())
	check(err) // a *backplane.PartialError, if a server did not respond; sockets has the others'
	for _, s := range sockets.List {
		slices.Sort(s.Rooms)
		fmt.Println(s.ID, s.Rooms)
	}
	// Output:
	// ada [ada lobby]
	// bob [bob lobby]
	// eve [eve lobby]
}

func ExampleOperator_SocketsJoin() {
	first, _, stop := inLobby()
	defer stop()
	check(first.To("lobby").Except("ada").SocketsJoin(context.Background(), "kitchen"))
	fmt.Println(selected(first.To("kitchen")))
	// Output: [bob eve]
}

func ExampleOperator_SocketsLeave() {
	first, _, stop := inLobby()
	defer stop()
	check(first.To("ada", "eve").SocketsLeave(context.Background(), "lobby"))
	fmt.Println(selected(first.To("lobby")))
	// Output: [bob]
}

// guest leaves its namespace when it is disconnected, as a socket must.
type guest struct {
	printer
	ns *adapter.Namespace
}

func (g guest) Disconnect(bool) { g.ns.Remove(g.ID()) }

func ExampleOperator_DisconnectSockets() {
	ctx := context.Background()
	first, second, stop := inLobby()
	defer stop()
	check(second.Add(ctx, guest{"mallory", second}))
	check(first.To("mallory").DisconnectSockets(ctx, true)) // true: with the connection
	fmt.Println(selected(first.To("mallory")))
	// Output: []
}

func ExampleNamespace_Peers() {
	first, _, stop := twoServers()
	defer stop()
	peers, err := first.Peers(context.Background())
	check(err)
	fmt.Println(len(peers.List), "other Go node,", peers.Foreign, "Node.js servers,", peers.Total(), "servers in all")
	// Output: 1 other Go node, 0 Node.js servers, 2 servers in all
}

func ExamplePacket_Frames() {
	first, _, stop := twoServers()
	defer stop()
	p, err := first.NewPacket("picture", "cat", []byte("\x89PNG"))
	check(err)
	f := p.Frames()
	fmt.Printf("%s\n", f.Engine) // a text message of the WebSocket
	for _, a := range f.Attachments {
		fmt.Printf("%q\n", a) // a binary message each, right behind it
	}
	// Output:
	// 451-/chat,["picture","cat",{"_placeholder":true,"num":0}]
	// "\x89PNG"
}

// A server on two prefixes: its broadcasts go to both, and the bridge forwards those of other servers on one of them.
func ExampleBridge() {
	ctx := context.Background()
	old, recent := memorybroker.NewBus(nil), memorybroker.NewBus(nil)
	both, err := adapter.New(recent.Broker(), &adapter.Options{
		Links:  []adapter.Link{{Broker: old.Broker(), Dialect: adapter.V5}},
		Bridge: &adapter.Bridge{},
	})
	check(err)
	root, err := both.Of(ctx, "/")
	check(err)
	got := make(chanSocket, 1)
	check(root.Add(ctx, got))

	emitter, err := adapter.NewEmitter(old.Broker(), &adapter.EmitterOptions{Dialect: adapter.V5})
	check(err)
	check(emitter.Emit(ctx, "from the old prefix"))
	fmt.Println((<-got).Event())
	for _, link := range both.Links() {
		fmt.Println(link.Dialect)
	}
	check(both.Close(ctx))
	for _, link := range both.Links() {
		check(link.Broker.Close(ctx))
	}
	// Output:
	// from the old prefix
	// v6
	// v5
}

// Disconnect the clients, say goodbye to the fleet, then close the broker, which sends what is still queued.
func ExampleServer_Close() {
	b := memorybroker.NewBus(nil).Broker()
	server, err := adapter.New(b, nil)
	check(err)
	chat, err := server.Of(context.Background(), "/chat")
	check(err)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = errors.Join(
		chat.All().Local().DisconnectSockets(ctx, true),
		server.Close(ctx),
		b.Close(ctx),
	)
	fmt.Println(err)
	// Output: <nil>
}

func ExampleOperator_EmitWithAckFunc() {
	ctx := context.Background()
	first, second, stop := twoServers()
	defer stop()
	check(second.Add(ctx, printer("eve")))
	_, err := first.To("eve").EmitWithAckFunc(ctx, adapter.AckFuncs{
		Expected: func(_ string, n int) { fmt.Println("expected:", n) },
		Value:    func(_ string, value any) { fmt.Println("value:", value) },
	}, "ready?")
	check(err)
	// Unordered output:
	// eve gets 2/chat,["ready?"]
	// expected: 0
	// expected: 1
	// value: eve says yes
}
