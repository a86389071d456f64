package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// seat is a member that prints what it gets, and acknowledges it.
type seat string

func (s seat) ID() string { return string(s) }

func (s seat) Deliver(m *backplane.Message) { fmt.Printf("%s gets %s\n", s, m.Payload) }

func (s seat) DeliverAck(m *backplane.Message, ack func([]byte)) {
	s.Deliver(m)
	ack([]byte("yes from " + s))
}

func (seat) Disconnect(bool) {}

// tables is two nodes: ada and bob are on the first one, eve on the second one. All are at table 7.
func tables() (first, second *backplane.Namespace, stop func()) {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	var games []*backplane.Namespace
	for range 2 {
		node, err := backplane.New(bus.Broker(), nil)
		try(err)
		game, err := node.Namespace(ctx, "game", &backplane.NamespaceOptions{
			OnRequest: func(_ context.Context, _ string, payload []byte) ([]byte, error) {
				return append([]byte("re: "), payload...), nil
			},
		})
		try(err)
		games = append(games, game)
	}
	first, second = games[0], games[1]
	for i, id := range []seat{"ada", "bob", "eve"} {
		game := games[i/2]
		try(game.Add(ctx, id))
		try(game.Join(ctx, id.ID(), "table 7"))
	}
	_, err := first.Node().AwaitPeers(ctx, 1)
	try(err)
	return first, second, func() {
		for _, game := range games {
			try(game.Node().Close(ctx))
			try(game.Node().Broker().Close(ctx))
		}
	}
}

func try(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// seats are the ids of the members that a target selects. A node responds after it has delivered what came before, so
// the examples also wait for the other node this way.
func seats(ns *backplane.Namespace, t backplane.Target) (list []string) {
	members, err := ns.Members(context.Background(), t)
	try(err)
	for _, m := range members.List {
		list = append(list, m.ID)
	}
	return list
}

func ExampleTo() {
	first, _, stop := tables()
	defer stop()
	fmt.Println(seats(first, backplane.To("table 7")))
	fmt.Println(seats(first, backplane.To("ada", "eve"))) // ids are rooms
	// Output:
	// [ada bob eve]
	// [ada eve]
}

func ExampleAll() {
	first, _, stop := tables()
	defer stop()
	fmt.Println(seats(first, backplane.All()))
	// Output: [ada bob eve]
}

func ExampleTarget_To() {
	first, _, stop := tables()
	defer stop()
	fmt.Println(seats(first, backplane.To("ada").To("eve"))) // in any of the rooms
	// Output: [ada eve]
}

// To broadcast from a member, leave out its id.
func ExampleTarget_Except() {
	first, _, stop := tables()
	defer stop()
	try(first.Broadcast(context.Background(), []byte("e2 e4"), backplane.To("table 7").Except("bob", "eve")))
	// Output: ada gets e2 e4
}

// In all of the rooms, not in any of them.
func ExampleTarget_InAll() {
	first, _, stop := tables()
	defer stop()
	try(first.Join(context.Background(), "eve", "spectators"))
	fmt.Println(seats(first, backplane.All().InAll("table 7", "spectators")))
	// Output: [eve]
}

// A list of rooms that happens to be empty selects no member.
func ExampleTo_empty() {
	first, _, stop := tables()
	defer stop()
	var friends []string
	fmt.Println(seats(first, backplane.To(friends...)))
	// Output: []
}

func ExampleTarget_CountLocal() {
	first, _, stop := tables()
	defer stop()
	var here int
	try(first.Broadcast(context.Background(), []byte("e2 e4"), backplane.To("table 7").Except("eve").CountLocal(&here)))
	fmt.Println(here, "of this node")
	// Output:
	// ada gets e2 e4
	// bob gets e2 e4
	// 2 of this node
}

func ExampleNamespace_LocalMembers() {
	first, _, stop := tables()
	defer stop()
	for m := range first.LocalMembers(backplane.To("table 7").Except("bob")) {
		fmt.Println(m.ID())
	}
	// Output: ada
}

func ExampleTarget_Local() {
	first, second, stop := tables()
	defer stop()
	fmt.Println(seats(first, backplane.All().Local()), seats(second, backplane.All().Local()))
	// Output: [ada bob] [eve]
}

func ExampleTarget_Remote() {
	first, _, stop := tables()
	defer stop()
	try(first.Broadcast(context.Background(), []byte("e2 e4"), backplane.All().Remote()))
	seats(first, backplane.All()) // wait
	// Output: eve gets e2 e4
}

// marks prints what travels beside a payload.
type marks struct{ seat }

func (marks) Deliver(m *backplane.Message) {
	fmt.Printf("%s: may be dropped: %t, compress: %t, header: %v\n", m.Payload, m.Volatile, !m.NoCompress, m.Header)
}

func ExampleTarget_Volatile() {
	ctx := context.Background()
	first, _, stop := tables()
	defer stop()
	try(first.Add(ctx, marks{"ivy"}))
	try(first.Broadcast(ctx, []byte("position"), backplane.To("ivy").Volatile()))
	// Output: position: may be dropped: true, compress: true, header: map[]
}

func ExampleTarget_Compress() {
	ctx := context.Background()
	first, _, stop := tables()
	defer stop()
	try(first.Add(ctx, marks{"ivy"}))
	try(first.Broadcast(ctx, []byte("picture"), backplane.To("ivy").Compress(false)))
	// Output: picture: may be dropped: false, compress: false, header: map[]
}

func ExampleTarget_Header() {
	ctx := context.Background()
	first, _, stop := tables()
	defer stop()
	try(first.Add(ctx, marks{"ivy"}))
	try(first.Broadcast(ctx, []byte("move"), backplane.To("ivy").Header(map[string]string{"by": "ada"})))
	// Output: move: may be dropped: false, compress: true, header: map[by:ada]
}

func ExampleNamespace_Peers() {
	first, _, stop := tables()
	defer stop()
	peers, err := first.Peers(context.Background())
	try(err)
	fmt.Println(len(peers.List), "other node,", peers.Total(), "servers in all")
	// Output: 1 other node, 2 servers in all
}

func ExampleNamespace_Request() {
	first, _, stop := tables()
	defer stop()
	replies, err := first.Request(context.Background(), []byte("load?"))
	try(err)
	for _, r := range replies.List {
		fmt.Printf("%s\n", r.Payload)
	}
	// Output: re: load?
}

func ExampleNamespace_BroadcastAck() {
	first, _, stop := tables()
	defer stop()
	acks, err := first.BroadcastAck(context.Background(), []byte("ready?"), backplane.To("eve"), time.Second)
	try(err)
	fmt.Printf("%s\n", acks.Values)
	// Output:
	// eve gets ready?
	// [yes from eve]
}

func ExampleNamespace_Count() {
	first, _, stop := tables()
	defer stop()
	n, err := first.Count(context.Background(), backplane.To("table 7"))
	try(err) // without an error all nodes have counted
	fmt.Println(n.Total, "members,", n.ByNode[first.Node().ID()], "of this node")
	// Output: 3 members, 2 of this node
}

func ExampleNamespace_JoinAll() {
	ctx := context.Background()
	first, _, stop := tables()
	defer stop()
	changed, err := first.JoinAll(ctx, backplane.To("table 7").Except("bob"), "table 8")
	try(err)
	fmt.Println(changed.Total, "members:", seats(first, backplane.To("table 8")))
	// Output: 2 members: [ada eve]
}

func ExampleEmitter() {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	node, err := backplane.New(bus.Broker(), nil)
	try(err)
	game, err := node.Namespace(ctx, "game", nil)
	try(err)
	ada := &player{name: "ada", in: make(chan []byte, 1)}
	try(game.Add(ctx, ada))

	emitter, err := backplane.NewEmitter(bus.Broker(), nil) // in a process without members
	try(err)
	try(emitter.Broadcast(ctx, "game", []byte("e2 e4"), backplane.To("ada")))
	try(emitter.Flush(ctx))
	fmt.Printf("%s\n", <-ada.in)
	try(node.Close(ctx))
	// Output: e2 e4
}

// Disconnect the members, say goodbye to the fleet, then close the broker, which sends what is still queued.
func ExampleNode_Close() {
	b := memorybroker.NewBus(nil).Broker()
	node, err := backplane.New(b, nil)
	try(err)
	game, err := node.Namespace(context.Background(), "game", nil)
	try(err)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = game.DisconnectAll(ctx, backplane.All().Local(), true)
	fmt.Println(errors.Join(err, node.Close(ctx), b.Close(ctx)))
	// Output: <nil>
}

// Keys are exchanged while nodes run, here of one process. The others have "new" behind "old" before
// this one signs with it.
func ExampleKeyring_Set() {
	old, next := []byte("an old secret of at least 32 bytes"), []byte("a new secret of at least 32 bytes")
	keys, err := backplane.NewKeyring(old)
	if err != nil {
		log.Fatal(err)
	}
	node, err := backplane.New(memorybroker.NewBus(nil).Broker(), &backplane.Options{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(context.Background())
	for _, step := range [][][]byte{{old, next}, {next, old}, {next}} {
		if err := keys.Set(step...); err != nil {
			log.Fatal(err)
		}
		fmt.Println(keys)
	}
	// Output:
	// keys 7a65a0f8, d0be4978
	// keys d0be4978, 7a65a0f8
	// keys d0be4978
}
