package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/outgoing"
)

// conn stands for a WebSocket connection of your server.
type conn interface {
	WriteText([]byte) error
	WriteBinary([]byte) error
	CloseNow()
}

// socket is one Socket.IO client in one namespace.
type socket struct {
	id    string
	ns    *adapter.Namespace
	conn  conn
	queue *outgoing.Queue[adapter.Frames]
}

func newSocket(id string, ns *adapter.Namespace, conn conn) *socket {
	s := &socket{id: id, ns: ns, conn: conn}
	s.queue = outgoing.New(s.write, s.broken, nil)
	return s
}

func (s *socket) ID() string { return s.id }

// Deliver takes one event. Its frames are encoded once for all sockets.
func (s *socket) Deliver(p *adapter.Packet) {
	f := p.Frames()
	size := len(f.Engine)
	for _, a := range f.Attachments {
		size += len(a)
	}
	s.queue.Push(f, size, p.Volatile())
}

// write sends packets: a text message, and its attachments right behind it.
func (s *socket) write(batch []adapter.Frames) error {
	for _, f := range batch {
		err := s.conn.WriteText(f.Engine)
		for _, a := range f.Attachments {
			err = errors.Join(err, s.conn.WriteBinary(a))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *socket) broken(error) {
	s.ns.Remove(s.id)
	s.conn.CloseNow()
}

// Disconnect writes what is queued, then closes the connection. It must not block.
func (s *socket) Disconnect(bool) {
	s.ns.Remove(s.id)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.queue.Close(ctx)
		s.conn.CloseNow()
	}()
}

// terminal is a conn that prints.
type terminal struct{}

func (terminal) WriteText(b []byte) error   { fmt.Printf("text %s\n", b); return nil }
func (terminal) WriteBinary(b []byte) error { fmt.Printf("binary %d bytes\n", len(b)); return nil }
func (terminal) CloseNow()                  {}

func Example_socketIO() {
	ctx := context.Background()
	b := memorybroker.NewBus(nil).Broker()
	server, err := adapter.New(b, nil)
	if err != nil {
		log.Fatal(err)
	}
	chat, err := server.Of(ctx, "/chat")
	if err != nil {
		log.Fatal(err)
	}
	ada := newSocket("ada", chat, terminal{})
	if err := chat.Add(ctx, ada); err != nil {
		log.Fatal(err)
	}
	if err := chat.Join(ctx, "ada", "lobby"); err != nil {
		log.Fatal(err)
	}
	if err := chat.To("lobby").Emit(ctx, "picture", []byte("\x89PNG")); err != nil {
		log.Fatal(err)
	}
	if err := chat.Disconnect(ctx, "ada", true); err != nil {
		log.Fatal(err)
	}
	<-ada.queue.Done()
	if err := errors.Join(server.Close(ctx), b.Close(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// text 451-/chat,["picture",{"_placeholder":true,"num":0}]
	// binary 4 bytes
}

// besideNodeJS makes a server of a fleet that has socket.io-redis 5 servers with the key
// "my-app".
func besideNodeJS(address string) (*adapter.Server, error) {
	b, err := redisbroker.Open(address, &redisbroker.Options{Prefix: "my-app"})
	if err != nil {
		return nil, err
	}
	return adapter.New(b, &adapter.Options{
		Dialect: adapter.V5, // adapter.V6, the default, for Socket.IO 3 and 4
		OnError: func(err error) { log.Print(err) },
	})
}

func Example_besideNodeJS() {
	server, err := besideNodeJS("redis://localhost:6379") // no I/O before Of
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.Prefix(), server.Links()[0].Dialect)
	// Output: my-app v5
}
