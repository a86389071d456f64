package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// visitor is a member that gets the reason of a disconnect. It leaves the namespace then, as a member must.
type visitor struct {
	seat
	game *backplane.Namespace
}

func (v visitor) DisconnectFor(reason string, close bool) {
	fmt.Printf("%s is disconnected: %q\n", v.ID(), reason)
	v.game.Remove(v.ID())
}

func ExampleTarget_Reason() {
	ctx := context.Background()
	first, second, stop := tables()
	defer stop()
	try(second.Add(ctx, visitor{"mallory", second}))
	n, err := first.DisconnectAll(ctx, backplane.To("mallory").Reason("banned"), true)
	try(err) // without an error all nodes have responded
	fmt.Println(n.Total, "member,", seats(first, backplane.To("mallory")))
	// Output:
	// mallory is disconnected: "banned"
	// 1 member, []
}

// A ReasonMember also gets disconnects without a reason, in place of Disconnect.
func ExampleReasonMember() {
	ctx := context.Background()
	first, _, stop := tables()
	defer stop()
	try(first.Add(ctx, visitor{"mallory", first}))
	try(first.Disconnect(ctx, "mallory", true))
	// Output: mallory is disconnected: ""
}

// A node that has just started waits for the nodes that are there, with a limit.
func ExampleNode_AwaitPeers() {
	first, second, stop := tables()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	peers, err := first.Node().AwaitPeers(ctx, 1)
	try(err) // the context's error comes with the peers that are known so far
	fmt.Println(len(peers), "peer:", peers[0].ID == second.Node().ID())
	// Output: 1 peer: true
}

// The members of the fleet, however many: the loop holds a part of the list.
func ExampleNamespace_EachMember() {
	first, second, stop := tables()
	defer stop()
	var there []string
	for m, err := range first.EachMember(context.Background(), backplane.To("table 7")) {
		try(err) // a *PartialError, at the end, if a node did not respond
		if m.Node == second.Node().ID() {
			there = append(there, m.ID)
			slices.Sort(m.Rooms)
			fmt.Println(m.ID, m.Rooms)
		}
	}
	fmt.Println(len(there), "of the other node")
	// Output:
	// eve [eve table 7]
	// 1 of the other node
}

// Close waits until the broker's system has all messages. The broker stays open.
func ExampleEmitter_Close() {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	node, err := backplane.New(bus.Broker(), nil)
	try(err)
	game, err := node.Namespace(ctx, "game", nil)
	try(err)
	ada := &player{name: "ada", in: make(chan []byte, 1)}
	try(game.Add(ctx, ada))

	emitter, err := backplane.NewEmitter(bus.Broker(), nil)
	try(err)
	try(emitter.Broadcast(ctx, "game", []byte("e2 e4"), backplane.To("ada")))
	try(emitter.Close(ctx)) // ErrOtherWire, if only servers of package adapter have the namespace
	fmt.Printf("%s\n", <-ada.in)
	err = emitter.Broadcast(ctx, "game", []byte("e7 e5"), backplane.To("ada"))
	fmt.Println(errors.Is(err, backplane.ErrClosed))
	try(node.Close(ctx))
	// Output:
	// e2 e4
	// true
}

// Each node needs a broker of its own. A second node on one is an error, not a fleet that misses messages.
func ExampleOptionError() {
	ctx, b := context.Background(), memorybroker.New(nil)
	defer b.Close(ctx)
	for _, id := range []string{"one", "two"} {
		node, err := backplane.New(b, &backplane.Options{ID: id})
		try(err)
		defer node.Close(ctx)
		_, err = node.Namespace(ctx, "game", nil)
		var bad *backplane.OptionError
		if errors.As(err, &bad) {
			fmt.Println(bad.Option, "is", bad.Reason)
		} else {
			fmt.Println(err)
		}
	}
	// Output:
	// <nil>
	// Broker is in use by node one: each node needs a broker of its own
}

// The acknowledgements as they come. Also the node itself is expected, here with no member.
func ExampleNamespace_BroadcastAckFunc() {
	ctx := context.Background()
	first, _, stop := tables()
	defer stop()
	_, err := first.BroadcastAckFunc(ctx, []byte("ready?"), backplane.To("eve"), time.Second, backplane.AckFuncs{
		Expected: func(_ string, n int) { fmt.Println("expected:", n) },
		Value:    func(_ string, payload []byte) { fmt.Printf("value: %s\n", payload) },
	})
	try(err)
	// Unordered output:
	// eve gets ready?
	// expected: 0
	// expected: 1
	// value: yes from eve
}

// Clients choose the rooms here. None can read what is sent to another one's id.
func ExampleNamespaceOptions_isID() {
	ctx, b := context.Background(), memorybroker.New(nil)
	defer b.Close(ctx)
	node, err := backplane.New(b, nil)
	try(err)
	defer node.Close(ctx)
	game, err := node.Namespace(ctx, "game", &backplane.NamespaceOptions{
		IsID: func(name string) bool { return strings.HasPrefix(name, "user:") },
	})
	try(err)
	try(game.Add(ctx, seat("user:ada")))
	try(game.Join(ctx, "user:ada", "table 7"))
	err = game.Join(ctx, "user:ada", "user:bob")
	fmt.Println(errors.As(err, new(*backplane.NameError)))
	// Output: true
}
