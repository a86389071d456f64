package outgoing_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/outgoing"
)

// webSocket stands for a connection of any WebSocket package.
type webSocket struct{}

func (*webSocket) WriteText(b []byte) error   { fmt.Printf("text %s\n", b); return nil }
func (*webSocket) WriteBinary(b []byte) error { fmt.Printf("binary %d bytes\n", len(b)); return nil }
func (*webSocket) CloseNow()                  {}

// client is an adapter.Socket on a WebSocket.
type client struct {
	id    string
	ns    *adapter.Namespace
	ws    *webSocket
	queue *outgoing.Queue[adapter.Frames]
}

func newClient(id string, ns *adapter.Namespace, ws *webSocket) *client {
	c := &client{id: id, ns: ns, ws: ws}
	c.queue = outgoing.New(c.write, c.broken, nil)
	return c
}

func (c *client) ID() string { return c.id }

// Deliver returns at once. The queue disconnects a client that does not keep up.
func (c *client) Deliver(p *adapter.Packet) {
	f := p.Frames()
	size := len(f.Engine)
	for _, a := range f.Attachments {
		size += len(a)
	}
	c.queue.Push(f, size, p.Volatile())
}

// write sends packets. It keeps the frames of one packet together.
func (c *client) write(batch []adapter.Frames) error {
	for _, f := range batch {
		err := c.ws.WriteText(f.Engine)
		for _, a := range f.Attachments {
			err = errors.Join(err, c.ws.WriteBinary(a))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// broken is called if the client is too slow or a write fails.
func (c *client) broken(error) {
	c.ns.Remove(c.id)
	c.ws.CloseNow() // makes a write in progress return
}

// Disconnect flushes the messages that were sent to the client before it.
func (c *client) Disconnect(bool) {
	c.ns.Remove(c.id)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c.queue.Close(ctx)
		c.ws.CloseNow()
	}()
}

// A Socket.IO server over WebSocket: a packet may have several frames.
func Example_webSocket() {
	ctx, b := context.Background(), memorybroker.NewBus(nil).Broker()
	server, _ := adapter.New(b, nil) // errors left out
	chat, _ := server.Of(ctx, "/chat")
	alice := newClient("alice", chat, &webSocket{})
	chat.Add(ctx, alice)

	chat.Emit(ctx, "hello", "everybody")
	chat.Emit(ctx, "picture", []byte("\x89PNG"))
	chat.Disconnect(ctx, "alice", true)

	<-alice.queue.Done()
	server.Close(ctx)
	// Output:
	// text 42/chat,["hello","everybody"]
	// text 451-/chat,["picture",{"_placeholder":true,"num":0}]
	// binary 4 bytes
}

// stream is a backplane.Member whose messages are server-sent events.
type stream struct {
	id    string
	end   context.CancelCauseFunc
	queue *outgoing.Queue[[]byte]
}

func (s *stream) ID() string      { return s.id }
func (s *stream) Disconnect(bool) { s.end(nil) }

func (s *stream) Deliver(m *backplane.Message) {
	s.queue.Push(m.Payload, len(m.Payload), m.Volatile)
}

// events serves one stream until the client leaves, is disconnected or is too slow.
func events(ns *backplane.Namespace) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		w.Header().Set("Content-Type", "text/event-stream")
		ctx, end := context.WithCancelCause(r.Context())
		s := &stream{id: r.FormValue("id"), end: end}
		s.queue = outgoing.New(func(batch [][]byte) error {
			for _, payload := range batch {
				fmt.Fprintf(w, "data: %s\n\n", payload)
			}
			return out.Flush() // one write for all of them
		}, end, &outgoing.Options{WhenFull: outgoing.DropOldest})
		if err := ns.Add(ctx, s); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		s.queue.Push([]byte("welcome"), 7, false)
		<-ctx.Done()
		ns.Remove(s.id)
		out.SetWriteDeadline(time.Now().Add(5 * time.Second)) // for the waiting messages
		s.queue.Close(context.Background())
		<-s.queue.Done() // w must not be used after the handler
	}
}

// Server-sent events: several messages are flushed with one write.
func Example_serverSentEvents() {
	ctx, b := context.Background(), memorybroker.NewBus(nil).Broker()
	node, _ := backplane.New(b, nil) // errors left out
	news, _ := node.Namespace(ctx, "/news", nil)
	web := httptest.NewServer(events(news))
	defer web.Close()

	res, err := http.Get(web.URL + "?id=alice")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		switch line := lines.Text(); line {
		case "":
		case "data: welcome": // ⇒
			news.Broadcast(ctx, []byte("first"), backplane.All())
			news.Broadcast(ctx, []byte("second"), backplane.To("alice"))
			news.DisconnectAll(ctx, backplane.All(), true)
		default:
			fmt.Println(line)
		}
	}
	node.Close(ctx)
	// Output:
	// data: first
	// data: second
}
