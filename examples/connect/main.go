// Command connect is a chat over streams of Connect (connectrpc.com/connect), on package backplane. The service is
// chat/chat.proto; clients of Connect, gRPC and gRPC-Web in any language can be generated from it.
//
//	go run ./connect                                 # two servers in this process
//	go run ./connect -broker redis://localhost:6379  # the same over Redis, or nats://…
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"log"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/examples/connect/chat"
	"github.com/crossroom/crossroom/examples/connect/chat/chatconnect"
	"github.com/crossroom/crossroom/outgoing"
)

//go:generate protoc --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative chat/chat.proto

func main() {
	address := flag.String("broker", "memory", "memory, redis://host:port, nats://host:port, or another form of package broker/dial")
	listen := flag.String("listen", "localhost:8081,localhost:8082", "addresses of servers to start in this process")
	flag.Parse()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // for clients of gRPC
	system := must(dial.New(*address, nil))
	for at := range strings.SplitSeq(*listen, ",") {
		_, handler := newServer(context.Background(), must(system.Broker()))
		web := &http.Server{Addr: at, Handler: handler, ReadHeaderTimeout: 10 * time.Second, Protocols: protocols}
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
	_, handler := chatconnect.NewChatHandler(service{ns}, connect.WithReadMaxBytes(64<<10))
	return ns, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, http.NewResponseController(w))))
	})
}

// key is that of the response in a request's context.
type key struct{}

type service struct{ *backplane.Namespace }

func (s service) Say(ctx context.Context, r *connect.Request[chat.Line]) (*connect.Response[chat.SayResponse], error) {
	payload, _ := proto.Marshal(r.Msg)
	return connect.NewResponse(&chat.SayResponse{}), s.Broadcast(ctx, payload, backplane.To("room:"+r.Msg.GetRoom()))
}

// Listen returns when the client has left, reads too slowly, or is disconnected.
func (s service) Listen(ctx context.Context, r *connect.Request[chat.ListenRequest], stream *connect.ServerStream[chat.Line]) error {
	response := ctx.Value(key{}).(*http.ResponseController)
	ctx, end := context.WithCancelCause(ctx)
	m := &member{id: rand.Text(), end: end}
	m.queue = outgoing.New(func(batch []*backplane.Message) (err error) {
		response.SetWriteDeadline(time.Now().Add(10 * time.Second)) // for a client that does not read
		defer response.SetWriteDeadline(time.Time{})
		for i := 0; i < len(batch) && err == nil; i++ {
			line := new(chat.Line)
			err = errors.Join(proto.Unmarshal(batch[i].Payload, line), stream.Send(line))
		}
		return err
	}, end, nil)
	err := errors.Join(s.Add(ctx, m), s.Join(ctx, m.id, "room:"+r.Msg.GetRoom())) // no member's id has a colon
	if err != nil {
		end(connect.NewError(connect.CodeInvalidArgument, err))
	} else {
		m.queue.Push(&backplane.Message{}, 0, false) // an empty line
	}
	<-ctx.Done()
	s.Remove(m.id)
	m.queue.Close(ctx)
	<-m.queue.Done()
	return context.Cause(ctx)
}

// member is a stream, as the namespace sees it.
type member struct {
	id    string
	queue *outgoing.Queue[*backplane.Message]
	end   context.CancelCauseFunc
}

func (m *member) ID() string { return m.id }
func (m *member) Disconnect(bool) {
	m.end(connect.NewError(connect.CodeUnavailable, errors.New("connect to another server")))
}
func (m *member) Deliver(b *backplane.Message) { m.queue.Push(b, len(b.Payload), b.Volatile) }
