package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// prefixes opens the brokers of a node that is on both prefixes of one Redis.
func prefixes(address string) (old, recent broker.Broker, err error) {
	if old, err = redisbroker.Open(address, nil); err != nil { // prefix socket.io: Socket.IO 2
		return nil, nil, err
	}
	recent, err = redisbroker.Open(address, &redisbroker.Options{Prefix: "socket.io-4"})
	return old, recent, err
}

// onBoth makes a server with one set of sockets and rooms on two links.
func onBoth(old, recent broker.Broker) (*adapter.Server, error) {
	return adapter.New(recent, &adapter.Options{
		Links:   []adapter.Link{{Broker: old, Dialect: adapter.V5}},
		Bridge:  &adapter.Bridge{}, // leave it out if the generations need not hear each other
		OnError: func(err error) { log.Print(err) },
	})
}

func Example_generations() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	old, recent := memorybroker.NewBus(nil), memorybroker.NewBus(nil) // two systems that never meet
	both, err := onBoth(old.Broker(), recent.Broker())
	if err != nil {
		log.Fatal(err)
	}
	lobby, err := both.Of(ctx, "/")
	if err != nil {
		log.Fatal(err)
	}
	// A server on each link alone, with a socket.
	got := make(chan string, 4)
	var alone []*adapter.Namespace
	for i, b := range []broker.Broker{old.Broker(), recent.Broker()} {
		server, err := adapter.New(b, &adapter.Options{Dialect: []adapter.Dialect{adapter.V5, adapter.V6}[i]})
		if err != nil {
			log.Fatal(err)
		}
		defer server.Close(ctx)
		ns, err := server.Of(ctx, "/")
		if err != nil {
			log.Fatal(err)
		}
		if err := ns.Add(ctx, visitor{[]string{"old", "new"}[i], got}); err != nil {
			log.Fatal(err)
		}
		alone = append(alone, ns)
	}
	if _, err := both.AwaitPeers(ctx, 2); err != nil {
		log.Fatal(err)
	}

	if err := lobby.Emit(ctx, "both"); err != nil { // goes out on both links
		log.Fatal(err)
	}
	if err := alone[0].Emit(ctx, "bridged"); err != nil { // from one to the other
		log.Fatal(err)
	}
	var lines []string
	for range 4 {
		lines = append(lines, <-got)
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Println(line)
	}
	sockets, err := lobby.All().FetchSockets(ctx)
	fmt.Println(len(sockets.List), "sockets on", len(sockets.Links), "links:", err)
	if err := errors.Join(both.Close(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// new got both
	// new got bridged
	// old got both
	// old got bridged
	// 2 sockets on 2 links: <nil>
}

// visitor is a socket that passes on what it gets.
type visitor struct {
	id  string
	got chan<- string
}

func (v visitor) ID() string                { return v.id }
func (v visitor) Deliver(p *adapter.Packet) { v.got <- v.id + " got " + p.Event() }
func (visitor) Disconnect(bool)             {}

func Example_prefixes() {
	ctx := context.Background()
	old, recent, err := prefixes("redis://localhost:6379") // no I/O
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(old.Capabilities().Prefix, recent.Capabilities().Prefix)
	if err := errors.Join(old.Close(ctx), recent.Close(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output: socket.io socket.io-4
}
