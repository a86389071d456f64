// Command demo runs three Crossroom nodes in one process and shows the purpose of a realtime fleet: a broadcast that
// reaches every node, requests to all of them, and a node that crashes.
//
//	go run ./demo                                   # embedded memory broker
//	go run ./demo -broker redis://localhost:6379    # the same on Redis
//	go run ./demo -broker nats://localhost:4222     # the same on NATS
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	"github.com/crossroom/crossroom/outgoing"
)

func main() {
	url := flag.String("broker", "", "an address as package broker/dial describes it; empty for the embedded memory broker")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := run(ctx, *url); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// node is one server of the fleet: a broker of its own, and a namespace.
type node struct {
	name   string
	broker broker.Broker
	server *adapter.Server
	chat   *adapter.Namespace
}

// client is a socket that prints its packets. A real server would push p.Frames() and write them to a WebSocket
// instead.
type client struct {
	id    string
	on    *node
	queue *outgoing.Queue[string] // so that Deliver never blocks
}

func newClient(id string, on *node, seen chan<- string) *client {
	write := func(lines []string) error {
		for _, line := range lines {
			seen <- fmt.Sprintf("  %-7s on %-5s %s", id, on.name, line)
		}
		return nil
	}
	tooSlow := func(error) { on.chat.Remove(id) }
	return &client{id, on, outgoing.New(write, tooSlow, nil)}
}

func (c *client) ID() string { return c.id }

func (c *client) Deliver(p *adapter.Packet) {
	c.push(fmt.Sprintf("got %s %v", p.Event(), p.Args()), p.Volatile())
}

func (c *client) Disconnect(bool) {
	c.on.chat.Remove(c.id)
	c.push("was disconnected", false)
}

func (c *client) push(line string, volatile bool) { c.queue.Push(line, len(line), volatile) }

func run(ctx context.Context, url string) error {
	system, err := opener(url)
	if err != nil {
		return err
	}
	seen := make(chan string, 64)
	var nodes []*node
	for _, name := range []string{"north", "south", "east"} {
		n, err := start(ctx, name, system)
		if err != nil {
			return err
		}
		defer n.server.Close(ctx)
		nodes = append(nodes, n)
	}
	north, south, east := nodes[0], nodes[1], nodes[2]
	if err := meet(ctx, nodes); err != nil {
		return err
	}
	clients := []*client{newClient("alice", north, seen), newClient("bob", south, seen), newClient("carol", east, seen), newClient("dave", east, seen)}
	for _, c := range clients {
		defer c.queue.Close(ctx)
		if err := c.on.chat.Add(ctx, c); err != nil {
			return err
		}
		if c.id != "dave" {
			if err := c.on.chat.Join(ctx, c.id, "lobby"); err != nil {
				return err
			}
		}
	}
	fmt.Printf("Three nodes on %s. In room lobby: alice on north, bob on south, carol on east. dave on east is in no room.\n", systems[system.System()])

	title("north emits to room lobby: every node delivers")
	if err := north.chat.To("lobby").Emit(ctx, "hello", "from north", 42); err != nil {
		return err
	}
	if err := show(ctx, seen, 3); err != nil {
		return err
	}

	title("south lists the sockets in room lobby, on all nodes")
	sockets, err := south.chat.To("lobby").FetchSockets(ctx)
	if err != nil {
		return err
	}
	for _, s := range sockets.List {
		fmt.Printf("  %-7s on %s\n", s.ID, short(s.Node))
	}

	title("north puts dave, a socket on east, into room lobby")
	if err := north.chat.Join(ctx, "dave", "lobby"); err != nil {
		return err
	}
	rooms, err := south.chat.ClientRooms(ctx, "dave")
	if err != nil {
		return err
	}
	fmt.Printf("  south queries his rooms: dave is in %s\n", strings.Join(rooms, ", "))

	title("north disconnects bob, a socket on south, and mallory, an id that no node has")
	if err := north.chat.Disconnect(ctx, "bob", true); err != nil {
		return err
	}
	if err := show(ctx, seen, 1); err != nil {
		return err
	}
	began := time.Now()
	err = north.chat.Disconnect(ctx, "mallory", true)
	if !errors.Is(err, backplane.ErrNoSuchMember) {
		return fmt.Errorf("disconnect mallory: %w", err)
	}
	fmt.Printf("  mallory: %v (known after %s, without waiting for a timeout)\n", backplane.ErrNoSuchMember, quick(time.Since(began)))

	title("north sends every server a request of its own: how many sockets have you?")
	replies, err := north.chat.CustomRequest(ctx, "how many?")
	if err != nil {
		return err
	}
	slices.SortFunc(replies.List, func(a, b adapter.Reply) int { return strings.Compare(a.Node, b.Node) })
	for _, r := range replies.List {
		fmt.Printf("  %-5s %s\n", short(r.Node), r.Data)
	}

	title("east crashes; north lists the sockets in room lobby again")
	kill(east.broker)
	began = time.Now()
	sockets, err = north.chat.To("lobby").FetchSockets(ctx)
	var partial *backplane.PartialError
	if !errors.As(err, &partial) {
		return fmt.Errorf("a node has crashed, but the result is %v", err)
	}
	for _, s := range sockets.List {
		fmt.Printf("  %-7s on %s\n", s.ID, short(s.Node))
	}
	for _, id := range partial.Coverage.Answered {
		fmt.Printf("  answered: %s\n", short(id))
	}
	reason := missing(partial, began)
	if !errors.Is(reason, backplane.ErrNoResponse) {
		return nil
	}
	// The broker cannot count subscribers, so only the deadline showed the crash. That happens once.
	began = time.Now()
	if _, err = north.chat.To("lobby").FetchSockets(ctx); !errors.As(err, &partial) {
		return fmt.Errorf("a node has crashed, but the result is %v", err)
	}
	fmt.Printf("  %s cannot count subscribers, so north waited for a response. The next request does not wait:\n", systems[system.System()])
	missing(partial, began)
	return nil
}

// missing prints the nodes that did not respond, and returns the reason of the last one.
func missing(e *backplane.PartialError, began time.Time) (reason error) {
	took := quick(time.Since(began))
	for _, m := range e.Coverage.Missing {
		fmt.Printf("  missing:  %s (%v), known after %s\n", short(m.Node), m.Reason, took)
		reason = m.Reason
	}
	return reason
}

// start starts one node.
func start(ctx context.Context, name string, system *dial.Dialer) (*node, error) {
	b, err := system.Broker()
	if err != nil {
		return nil, err
	}
	n := &node{name: name, broker: b}
	n.server, err = adapter.New(b, &adapter.Options{
		Name: name,
		CustomHook: func(_ context.Context, ns *adapter.Namespace, _ json.RawMessage) (any, error) {
			return fmt.Sprintf("%d sockets", ns.Len()), nil
		},
	})
	if err != nil {
		return nil, err
	}
	n.chat, err = n.server.Of(ctx, "/chat")
	return n, err
}

// meet waits until all nodes know each other. Requests work before that too, but could not name a node that is not yet
// known.
func meet(ctx context.Context, nodes []*node) error {
	for _, n := range nodes {
		if _, err := n.server.AwaitPeers(ctx, len(nodes)-1); err != nil {
			return err
		}
	}
	return nil
}

// opener returns what opens one broker for each node.
func opener(address string) (*dial.Dialer, error) {
	// A prefix of its own keeps the demo out of a production fleet.
	return dial.New(cmp.Or(address, "memory"), &dial.Options{Prefix: "crossroom-demo-" + rand.Text()[:6]})
}

// systems are the names of systems in a sentence.
var systems = map[string]string{"memory": "the embedded memory broker", "redis": "Redis", "nats": "NATS"}

// kill makes a broker disappear without goodbye, as if its process had crashed.
func kill(b broker.Broker) {
	if m, ok := b.(*memorybroker.Broker); ok {
		memorytest.Kill(m)
		return
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	b.Close(now)
}

func title(s string) { fmt.Printf("\n— %s\n", s) }

// short is the readable part of a node's id.
func short(id string) string { name, _, _ := strings.Cut(id, "~"); return name }

// quick formats a duration without digits that differ between runs.
func quick(d time.Duration) string {
	if d < 100*time.Millisecond {
		return "less than 100 ms"
	}
	return d.Round(10 * time.Millisecond).String()
}

// show prints what n clients receive, in alphabetical order, because they receive it at the same time.
func show(ctx context.Context, seen <-chan string, n int) error {
	lines := make([]string, 0, n)
	for len(lines) < n {
		select {
		case line := <-seen:
			lines = append(lines, line)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	return nil
}
