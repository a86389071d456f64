package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/coder/websocket"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/outgoing"
)

// client is one WebSocket, as a member of a namespace.
type client struct {
	id    string
	conn  *websocket.Conn
	queue *outgoing.Queue[[]byte]
}

func newClient(id string, conn *websocket.Conn) *client {
	c := &client{id: id, conn: conn}
	c.queue = outgoing.New(c.write, c.broken, nil)
	return c
}

func (c *client) ID() string { return c.id }

// Deliver never waits for the client: the queue is bounded.
func (c *client) Deliver(m *backplane.Message) {
	c.queue.Push(m.Payload, len(m.Payload), m.Volatile)
}

// write runs on the queue's goroutine and may block.
func (c *client) write(batch [][]byte) error {
	for _, payload := range batch {
		if err := c.conn.Write(context.Background(), websocket.MessageText, payload); err != nil {
			return err
		}
	}
	return nil
}

// broken runs when the client is too slow, or a write fails. It ends the write and the
// reader.
func (c *client) broken(error) { c.conn.CloseNow() }

// Disconnect writes what is queued, then closes the connection. It must not block.
func (c *client) Disconnect(bool) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c.queue.Close(ctx)
		c.conn.Close(websocket.StatusNormalClosure, "")
	}()
}

// serve handles one WebSocket until either side closes it.
func serve(room *backplane.Namespace) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // Accept has written the response
		}
		defer conn.CloseNow()
		c := newClient(r.FormValue("name"), conn)
		table := r.FormValue("table")
		err = room.Add(r.Context(), c)
		if err == nil {
			defer room.Remove(c.id)
			err = room.Join(r.Context(), c.id, table)
		}
		if err != nil {
			conn.Close(websocket.StatusPolicyViolation, "this name is taken or cannot be used")
			return
		}
		c.queue.Push([]byte("welcome to "+table), 32, false)
		for {
			_, payload, err := conn.Read(context.Background())
			if err != nil {
				return // the client left, or the connection broke
			}
			if err := room.Broadcast(r.Context(), payload, backplane.To(table).Except(c.id)); err != nil {
				log.Print(err)
			}
		}
	}
}

// start starts a node and its web server.
func start(ctx context.Context, bus *memorybroker.Bus) (web *httptest.Server, stop func() error, err error) {
	b := bus.Broker() // or redisbroker.Open, natsbroker.Open
	node, err := backplane.New(b, &backplane.Options{OnError: func(err error) { log.Print(err) }})
	if err != nil {
		return nil, nil, err
	}
	room, err := node.Namespace(ctx, "game", nil)
	if err != nil {
		return nil, nil, err
	}
	web = httptest.NewServer(serve(room))
	return web, func() error {
		web.Close() // accept no more clients
		// Let the present ones go, then the node, and its broker last.
		_, err := room.DisconnectAll(ctx, backplane.All().Local(), true)
		return errors.Join(err, node.Close(ctx), b.Close(ctx))
	}, nil
}

// Two nodes, with a client on each.
func Example_webSocket() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	bus := memorybroker.NewBus(nil)
	var conns []*websocket.Conn
	for _, name := range []string{"ada", "bob"} {
		web, stop, err := start(ctx, bus)
		if err != nil {
			log.Fatal(err)
		}
		defer stop()
		conn, _, err := websocket.Dial(ctx, web.URL+"?table=7&name="+name, nil)
		if err != nil {
			log.Fatal(err)
		}
		defer conn.CloseNow()
		fmt.Println(name, "reads", read(ctx, conn))
		conns = append(conns, conn)
	}
	if err := conns[0].Write(ctx, websocket.MessageText, []byte("e2 e4")); err != nil {
		log.Fatal(err)
	}
	fmt.Println("bob reads", read(ctx, conns[1]))
	// Output:
	// ada reads welcome to 7
	// bob reads welcome to 7
	// bob reads e2 e4
}

func read(ctx context.Context, conn *websocket.Conn) string {
	_, payload, err := conn.Read(ctx)
	if err != nil {
		return err.Error()
	}
	return string(payload)
}
