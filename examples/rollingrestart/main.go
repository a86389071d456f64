// Command rollingrestart replaces two nodes one after the other while their clients chat, and prints what the clients
// noticed of it.
//
//	go run ./rollingrestart                                   # 2,000 clients, in this process
//	go run ./rollingrestart -broker redis://localhost:6379    # the same over Redis, or nats://…
//
// node.go is the server and user.go its client. The order of the restart is in restart.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker/dial"
)

// options of a run.
type options struct {
	broker  string
	clients int
	rooms   int
	// load is how many messages the clients send in a second, all together.
	load int
	// rate is how many clients in a second a node asks to move.
	rate float64
	// overlap is how long a client that moves is on both nodes.
	overlap time.Duration
}

// figures are what the clients noticed.
type figures struct {
	sent, unsent, deliveries, missing, again int
	moved, movedTwice, broken                int
	took                                     time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.broker, "broker", "memory", "memory, redis://host:port, nats://host:port, or another form of package broker/dial")
	flag.IntVar(&o.clients, "clients", 2000, "WebSocket connections")
	flag.IntVar(&o.rooms, "rooms", 20, "rooms, over which the clients are spread")
	flag.IntVar(&o.load, "load", 50, "messages in a second, each to a whole room")
	flag.Float64Var(&o.rate, "rate", 200, "clients in a second that a node asks to move")
	flag.DurationVar(&o.overlap, "overlap", 2*time.Second, "how long a client that moves is on both nodes")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	f, err := restart(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d clients on two nodes, %d messages/s: both nodes replaced in %v\n", o.clients, o.load, f.took.Round(10*time.Millisecond))
	fmt.Printf("moved to another node:     %d clients once, %d more than once\n", f.moved, f.movedTwice)
	fmt.Printf("connections that broke:    %d\n", f.broken)
	fmt.Printf("messages sent:             %d, and %d that could not be sent\n", f.sent, f.unsent)
	fmt.Printf("deliveries:                %d, of which %d lost\n", f.deliveries, f.missing)
	fmt.Printf("came on both connections:  %d, which the clients noticed and dropped\n", f.again)
	if f.movedTwice > 0 || f.broken > 0 || f.missing > 0 || f.unsent > 0 {
		log.Fatal("clients noticed the restart")
	}
}

// restart runs two nodes with clients, and replaces one after the other under load.
func restart(ctx context.Context, o options) (f figures, err error) {
	system, err := dial.New(o.broker, nil)
	if err != nil {
		return f, err
	}
	open := func(name string) (*node, error) {
		b, err := system.Broker()
		if err != nil {
			return nil, err
		}
		return start(ctx, name, b)
	}
	var nodes []*node
	for _, name := range []string{"a-1", "b-1"} {
		n, err := open(name)
		if err != nil {
			return f, err
		}
		nodes = append(nodes, n)
	}
	users := make([]*user, o.clients)
	for i := range users {
		users[i] = &user{id: name("user", i), room: name("room", i%o.rooms), overlap: o.overlap, got: make(map[string]bool)}
		if err := users[i].connect(ctx, nodes[i/o.rooms%2].addr); err != nil {
			return f, err
		}
	}

	// Clients speak in turn until the restart has ended.
	sent := make(map[string][]string) // by room
	over := make(chan struct{})
	var speaking sync.WaitGroup
	speaking.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(o.load))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			u := users[n*7919%len(users)]
			message, err := u.say(ctx, n)
			if err != nil {
				f.unsent++
				continue
			}
			sent[u.room] = append(sent[u.room], message)
			f.sent++
		}
	})

	// The new node is ready before the old one drains, and the old one's clients go there: not to the other old node,
	// which they would have to leave again.
	began := time.Now()
	for i, name := range []string{"a-2", "b-2"} {
		old := nodes[i]
		if nodes[i], err = open(name); err == nil {
			err = old.drain(ctx, o.rate, nodes[i].addr)
		}
		if err != nil {
			close(over)
			speaking.Wait()
			return f, err
		}
	}
	f.took = time.Since(began)
	close(over)
	speaking.Wait()

	// What is still on its way gets time to arrive.
	for wait := time.Now().Add(o.overlap + 5*time.Second); time.Now().Before(wait) && f.count(users, sent); {
		time.Sleep(50 * time.Millisecond)
	}
	for _, u := range users {
		u.leave()
	}
	f.count(users, sent)
	for _, n := range nodes {
		err = errors.Join(err, n.close(ctx))
	}
	return f, err
}

// count sums up what the users noticed. It reports whether messages are missing.
func (f *figures) count(users []*user, sent map[string][]string) (missing bool) {
	f.deliveries, f.missing, f.again, f.moved, f.movedTwice, f.broken = 0, 0, 0, 0, 0, 0
	for _, u := range users {
		f.deliveries += len(sent[u.room])
		f.missing += u.lacks(sent[u.room])
		u.mu.Lock()
		f.again += u.again
		f.broken += u.broken
		switch {
		case u.moves == 1:
			f.moved++
		case u.moves > 1:
			f.movedTwice++
		}
		u.mu.Unlock()
	}
	return f.missing > 0
}
