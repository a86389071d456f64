// Command graphql is a chat of GraphQL subscriptions, with gqlgen, on package backplane.
//
//	go run ./graphql                                 # two servers in this process
//	go run ./graphql -broker redis://localhost:6379  # the same over Redis, or nats://…
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/99designs/gqlgen/graphql/playground"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/examples/graphql/graph"
	"github.com/crossroom/crossroom/outgoing"
)

//go:generate go run github.com/99designs/gqlgen@v0.17.98 generate

func main() {
	address := flag.String("broker", "memory", "memory, redis://host:port, nats://host:port, or another form of package broker/dial")
	listen := flag.String("listen", "localhost:8081,localhost:8082", "addresses of servers to start in this process")
	flag.Parse()
	system := must(dial.New(*address, nil))
	for at := range strings.SplitSeq(*listen, ",") {
		_, handler := newServer(context.Background(), must(system.Broker()))
		web := &http.Server{Addr: at, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		go func() { log.Fatal(web.ListenAndServe()) }()
		log.Printf("listening on http://%s", at)
	}
	select {}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// newServer makes one server of the fleet: its namespace, and what it serves.
func newServer(ctx context.Context, b broker.Broker) (*backplane.Namespace, http.Handler) {
	ns := must(must(backplane.New(b, nil)).Namespace(ctx, "chat", nil))
	s := handler.New(graph.NewExecutableSchema(graph.Config{Resolvers: root{ns}}))
	s.AddTransport(transport.Websocket{PingPongInterval: 10 * time.Second}) // of clients that do not answer too
	s.AddTransport(transport.POST{})
	mux := http.NewServeMux()
	mux.Handle("/", playground.Handler("Chat", "/query"))
	mux.Handle("/query", http.MaxBytesHandler(s, 64<<10))
	return ns, mux
}

type root struct{ *backplane.Namespace }

func (r root) Query() graph.QueryResolver               { return r }
func (r root) Mutation() graph.MutationResolver         { return r }
func (r root) Subscription() graph.SubscriptionResolver { return r }

func (r root) Server(context.Context) (string, error) { return r.Node().ID(), nil }

func (r root) Say(ctx context.Context, room, from, text string) (*graph.Line, error) {
	line := &graph.Line{From: from, Text: text}
	payload, _ := json.Marshal(line)
	return line, r.Broadcast(ctx, payload, backplane.To("room:"+room))
}

// Lines returns what is said in a room until the client leaves, reads too slowly, or is disconnected.
func (r root) Lines(ctx context.Context, room string) (<-chan *graph.Line, error) {
	ctx, end := context.WithCancelCause(ctx)
	m, lines := &member{id: rand.Text(), end: end}, make(chan *graph.Line)
	m.queue = outgoing.New(func(batch []*backplane.Message) error {
		for _, said := range batch {
			line := new(graph.Line)
			json.Unmarshal(said.Payload, line)
			select {
			case lines <- line:
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	}, end, nil)
	context.AfterFunc(ctx, func() {
		r.Remove(m.id)
		m.queue.Close(ctx)
		<-m.queue.Done()
		close(lines) // completes the subscription
	})
	err := errors.Join(r.Add(ctx, m), r.Join(ctx, m.id, "room:"+room)) // no member's id has a colon
	if err != nil {
		end(err)
	}
	return lines, err
}

type member struct {
	id    string
	queue *outgoing.Queue[*backplane.Message]
	end   context.CancelCauseFunc
}

func (m *member) ID() string                   { return m.id }
func (m *member) Disconnect(bool)              { m.end(context.Canceled) }
func (m *member) Deliver(b *backplane.Message) { m.queue.Push(b, len(b.Payload), b.Volatile) }
