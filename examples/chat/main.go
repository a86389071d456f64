// Command chat is a chat server on a Crossroom fleet. Browsers with the stock socket.io-client on any node chat with
// the browsers on all the others.
//
//	go run ./chat                                  # three nodes in this process
//	go run ./chat -broker redis://localhost:6379   # the same over Redis, or nats://…
//	go run ./chat -name go-1 -port 8081 -broker …  # one node, as in production
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/examples/chat/page"
	"github.com/crossroom/crossroom/examples/chat/socketio"
)

var (
	address = flag.String("broker", "memory", "memory, redis://host:port, nats://host:port, or another form of package broker/dial")
	prefix  = flag.String("prefix", "", "of the channel names on the broker; empty for its default")
	names   = flag.String("name", "go-1,go-2,go-3", "nodes to start in this process")
	host    = flag.String("host", "127.0.0.1", "to listen on")
	port    = flag.Int("port", 8081, "of the first node; the others take the following ones")
	nodes   = flag.String("nodes", "", "what pages offer, as JSON: [{name, url, kind}, …]; empty for these nodes")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal terminates the process at once
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	list := strings.Split(*names, ",")
	system, err := dial.New(*address, &dial.Options{Prefix: *prefix})
	if err != nil {
		return err
	}
	offered := cmp.Or(*nodes, page.Offer(list, *host, *port))
	for i, name := range list {
		at := fmt.Sprintf("%s:%d", *host, *port+i)
		b, err := system.Broker()
		if err != nil {
			return err
		}
		stop, err := start(ctx, b, name, at, offered)
		if err != nil {
			return err
		}
		defer stop()
		fmt.Printf("listening on http://%s (%s)\n", at, name)
	}
	<-ctx.Done()
	return nil
}

// start starts a node, whose pages offer some nodes, and returns a function that stops it: first the clients are
// disconnected, then the node leaves the fleet; the broker still sends the last messages.
func start(ctx context.Context, b broker.Broker, name, at, offered string) (stop func(), err error) {
	log := slog.With("node", name)
	server, err := adapter.New(b, &adapter.Options{Name: name, Logger: log})
	if err != nil {
		return nil, err
	}
	root, errRoot := server.Of(ctx, "/") // live: later messages of other nodes arrive
	rooms, errRooms := server.Of(ctx, "/chat")
	if err := errors.Join(errRoot, errRooms); err != nil {
		return nil, err
	}
	users, errChat := newChat(rooms, name)
	// Pages of one node may connect to the others.
	clients := socketio.New(&socketio.Options{Origins: []string{"localhost:*", *host + ":*"}, Logger: log})
	clients.Handle(root, socketio.Handler{}) // all clients may enter; it has no events
	clients.Handle(rooms, users)

	web, errWeb := page.Serve(at, offered, clients)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		log.Info("closed", "error", errors.Join(clients.Close(ctx), web.Shutdown(ctx), server.Close(ctx), b.Close(ctx)))
	}, errors.Join(errChat, errWeb)
}
