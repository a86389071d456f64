package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// visitor is a socket that gets the reason of a disconnect, and could pass it on to its client.
type visitor struct {
	printer
	ns *adapter.Namespace
}

func (v visitor) DisconnectFor(reason string, connection bool) {
	fmt.Printf("%s is disconnected: %q\n", v.ID(), reason)
	v.ns.Remove(v.ID())
}

func ExampleOperator_Reason() {
	ctx := context.Background()
	first, second, stop := inLobby()
	defer stop()
	check(second.Add(ctx, visitor{"mallory", second}))
	check(first.To("mallory").Reason("banned").DisconnectSockets(ctx, true))
	fmt.Println(selected(first.To("mallory"))) // waits for the other server
	// Output:
	// mallory is disconnected: "banned"
	// []
}

// A ReasonSocket also gets disconnects without a reason, in place of Disconnect.
func ExampleReasonSocket() {
	ctx := context.Background()
	first, _, stop := inLobby()
	defer stop()
	check(first.Add(ctx, visitor{"mallory", first}))
	check(first.To("mallory").DisconnectSockets(ctx, true))
	// Output: mallory is disconnected: ""
}

// A server that has just started waits for the Go nodes that are there, with a limit.
func ExampleServer_AwaitPeers() {
	first, second, stop := twoServers()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	peers, err := first.Server().AwaitPeers(ctx, 1)
	check(err) // the context's error comes with the nodes that are known so far
	fmt.Println(len(peers), "peer:", peers[0].ID == second.Server().UID())
	// Output: 1 peer: true
}

// The sockets of the fleet, however many: the loop holds a part of the list.
func ExampleOperator_EachSocket() {
	first, _, stop := inLobby()
	defer stop()
	var ids []string
	for s, err := range first.To("lobby").EachSocket(context.Background()) {
		check(err) // a *backplane.PartialError, at the end, if a server did not respond
		ids = append(ids, s.ID)
	}
	slices.Sort(ids) // they come in no order
	fmt.Println(ids)
	// Output: [ada bob eve]
}

// Close waits until the broker's system has all messages. An event that no server could read is an error.
func ExampleEmitter_Close() {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	node, err := backplane.New(bus.Broker(), nil)
	check(err)
	defer node.Close(ctx)
	_, err = node.Namespace(ctx, "/game", nil) // members, not sockets
	check(err)

	emitter, err := adapter.NewEmitter(bus.Broker(), nil)
	check(err)
	check(emitter.Of("/game").Emit(ctx, "move", "e2 e4"))
	err = emitter.Close(ctx)
	fmt.Println(errors.Is(err, backplane.ErrOtherWire))
	err = emitter.Emit(ctx, "late")
	fmt.Println(errors.Is(err, backplane.ErrClosed))
	// Output:
	// true
	// true
}

// Each server needs a broker of its own. A second server on one is an error, not a fleet that misses events.
func ExampleServer_Of_brokerInUse() {
	ctx, b := context.Background(), memorybroker.New(nil)
	defer b.Close(ctx)
	for range 2 {
		server, err := adapter.New(b, nil)
		check(err)
		defer server.Close(ctx)
		_, err = server.Of(ctx, "/chat")
		var bad *backplane.OptionError
		if errors.As(err, &bad) {
			fmt.Println("option", bad.Option)
		} else {
			fmt.Println(err)
		}
	}
	// Output:
	// <nil>
	// option Broker
}

// Events of other servers that have no handler of their own, and a response where the sender waits.
func ExampleNamespace_OnAnyServerSideEmit() {
	ctx := context.Background()
	first, second, stop := twoServers()
	defer stop()
	second.OnAnyServerSideEmit(func(_ context.Context, e *adapter.ServerEvent) {
		if err := e.Ack("no such event: " + e.Event); err != nil {
			fmt.Println(err) // ErrAcknowledged, if another handler has responded or the sender does not wait
		}
	})
	replies, err := first.ServerSideEmitWithAck(ctx, "upgrade", 2)
	check(err)
	fmt.Printf("%s\n", replies.List[0].Data)
	// Output: "no such event: upgrade"
}

// A packet that asks the client for an acknowledgement, with the id by which the host knows the response.
func ExamplePacket_AckFrames() {
	first, _, stop := twoServers()
	defer stop()
	p, err := first.NewPacket("ready?", 17)
	check(err)
	fmt.Printf("%s\n", p.AckFrames(12).Engine)
	// Output: 42/chat,12["ready?",17]
}

// Clients choose the rooms here. None can read what is sent to another one's id.
func ExampleOptions_isID() {
	ctx, b := context.Background(), memorybroker.New(nil)
	defer b.Close(ctx)
	server, err := adapter.New(b, &adapter.Options{
		IsID: func(name string) bool { return strings.HasPrefix(name, "user:") },
	})
	check(err)
	defer server.Close(ctx)
	chat, err := server.Of(ctx, "/chat")
	check(err)
	check(chat.Add(ctx, printer("user:ada")))
	check(chat.Join(ctx, "user:ada", "lobby"))
	err = chat.Join(ctx, "user:ada", "user:bob")
	fmt.Println(errors.As(err, new(*backplane.NameError)))
	// Output: true
}
