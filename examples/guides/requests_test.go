package guides_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// who prints the sockets in the lobby, and which nodes did not say theirs.
func who(ctx context.Context, chat *adapter.Namespace) error {
	sockets, err := chat.To("lobby").FetchSockets(ctx)
	var partial *backplane.PartialError
	if err != nil && !errors.As(err, &partial) {
		return err // not sent: the context ended, the server is closed, …
	}
	for _, s := range sockets.List { // complete, or what the other nodes responded
		fmt.Println(s.ID, "on", adapter.NodeName(s.Node))
	}
	for _, m := range sockets.Missing {
		fmt.Println("no response from", adapter.NodeName(m.Node)+":", m.Reason)
	}
	return nil
}

// census counts the sockets of each server, without a list of them.
func census(ctx context.Context, chat *adapter.Namespace) (map[string]int, error) {
	count := map[string]int{}
	for s, err := range chat.All().EachSocket(ctx) {
		if err != nil { // the last round: nodes are missing, or the context ended
			return count, err
		}
		count[adapter.NodeName(s.Node)]++
	}
	return count, nil // complete
}

// kick disconnects one socket of any node.
func kick(ctx context.Context, chat *adapter.Namespace, id string) string {
	switch err := chat.Disconnect(ctx, id, true); {
	case errors.Is(err, backplane.ErrNoSuchMember):
		return "no node has it" // every node said so
	case err != nil:
		return "it may still be connected: " + err.Error() // a node that may have it did not respond
	}
	return "done" // confirmed by its node
}

// guest is a socket without a client.
type guest struct {
	id string
	ns *adapter.Namespace
}

func (g guest) ID() string            { return g.id }
func (guest) Deliver(*adapter.Packet) {}
func (g guest) Disconnect(bool)       { g.ns.Remove(g.id) }

// fleet starts three servers, with a socket on each, that know each other.
func fleet(ctx context.Context) (chats []*adapter.Namespace, brokers []*memorybroker.Broker) {
	bus := memorybroker.NewBus(nil)
	for i, name := range []string{"north", "south", "east"} {
		b := bus.Broker()
		server, err := adapter.New(b, &adapter.Options{
			Name: name,
			CustomHook: func(_ context.Context, ns *adapter.Namespace, _ json.RawMessage) (any, error) {
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
		id := []string{"ada", "bob", "eve"}[i]
		if err := errors.Join(chat.Add(ctx, guest{id, chat}), chat.Join(ctx, id, "lobby")); err != nil {
			log.Fatal(err)
		}
		chats, brokers = append(chats, chat), append(brokers, b)
	}
	if _, err := chats[0].Server().AwaitPeers(ctx, 2); err != nil {
		log.Fatal(err)
	}
	return chats, brokers
}

func Example_partialResponses() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	chats, brokers := fleet(ctx)
	defer chats[0].Server().Close(ctx)
	defer chats[1].Server().Close(ctx)

	fmt.Println(census(ctx, chats[0]))
	fmt.Println("kick mallory:", kick(ctx, chats[0], "mallory"))
	fmt.Println("kick bob:", kick(ctx, chats[0], "bob"))
	memorytest.Kill(brokers[2]) // east crashes
	if err := who(ctx, chats[0]); err != nil {
		log.Fatal(err)
	}
	// Output:
	// map[east:1 north:1 south:1] <nil>
	// kick mallory: no node has it
	// kick bob: done
	// ada on north
	// no response from east: node is lost
}

// load asks each server how many sockets it has: Options.CustomHook responds.
func load(ctx context.Context, chat *adapter.Namespace) ([]string, error) {
	replies, err := chat.CustomRequest(ctx, "how many sockets?")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, r := range replies.List {
		var n int
		if err := r.Bind(&n); err != nil {
			return nil, err // what the other server's hook returned
		}
		list = append(list, fmt.Sprint(adapter.NodeName(r.Node), " has ", n))
	}
	slices.Sort(list)
	return list, nil
}

func Example_requestOfYourOwn() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	chats, _ := fleet(ctx)
	list, err := load(ctx, chats[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Join(list, ", "))
	// Output: east has 1, north has 1, south has 1
}
