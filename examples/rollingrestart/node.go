package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/outgoing"
)

// Messages from a node to a client begin with one of these bytes.
const (
	text = 't' // the rest is a message of a client
	move = 'm' // the rest is the address of another node
)

// node is one server: WebSockets, which are members of a namespace.
type node struct {
	name   string
	addr   string
	web    *http.Server
	broker broker.Broker
	node   *backplane.Node
	chat   *backplane.Namespace
}

// start returns a node that is ready.
func start(ctx context.Context, name string, b broker.Broker) (*node, error) {
	core, err := backplane.New(b, &backplane.Options{Name: name})
	if err != nil {
		return nil, err
	}
	n := &node{name: name, broker: b, node: core}
	if n.chat, err = core.Namespace(ctx, "chat", nil); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.addr = listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("/chat", n.serve)
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !core.Health().Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	n.web = &http.Server{Handler: mux}
	go func() {
		if err := n.web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Print(err)
		}
	}()
	return n, core.Ready(ctx)
}

// serve handles one WebSocket until the client closes it.
func (n *node) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has written the response
	}
	defer conn.CloseNow()
	c := &client{id: r.FormValue("id"), conn: conn}
	c.queue = outgoing.New(c.write, func(error) { conn.CloseNow() }, nil)
	// Nodes do not check ids against each other, so a client that moves may be on two nodes for a while.
	if err = n.chat.Add(r.Context(), c); err == nil {
		err = n.chat.Join(r.Context(), c.id, r.FormValue("room"))
	}
	if err != nil {
		conn.Close(websocket.StatusPolicyViolation, "cannot join")
		return
	}
	defer n.chat.Remove(c.id)
	c.queue.Push([]byte{text}, 1, false) // an empty message: the client is in its room
	for {
		_, payload, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		if err := n.chat.Broadcast(r.Context(), append([]byte{text}, payload...), backplane.To(r.FormValue("room"))); err != nil {
			log.Printf("%s: a message is lost: %v", n.name, err)
		}
	}
}

// drain takes the node out of its fleet: its clients move to the node at another address, perSecond of them in a second.
func (n *node) drain(ctx context.Context, perSecond float64, to string) error {
	err := n.node.Drain(ctx, perSecond, func(_ *backplane.Namespace, m backplane.Member) {
		m.(*client).queue.Push(append([]byte{move}, to...), len(to), false)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	return n.close(ctx)
}

// close closes the node at once.
func (n *node) close(ctx context.Context) error {
	return errors.Join(n.node.Close(ctx), n.web.Close(), n.broker.Close(ctx))
}

// client is one WebSocket, as a member of the namespace.
type client struct {
	id    string
	conn  *websocket.Conn
	queue *outgoing.Queue[[]byte]
}

func (c *client) ID() string { return c.id }

func (c *client) Deliver(m *backplane.Message) { c.queue.Push(m.Payload, len(m.Payload), m.Volatile) }

func (c *client) Disconnect(bool) { c.conn.CloseNow() }

func (c *client) write(batch [][]byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, payload := range batch {
		if err := c.conn.Write(ctx, websocket.MessageText, payload); err != nil {
			return err
		}
	}
	return nil
}
