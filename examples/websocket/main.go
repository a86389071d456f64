// Command websocket is a chat for browsers over plain WebSockets, on package hub.
//
//	go run ./websocket                                 # two servers in this process
//	go run ./websocket -broker redis://localhost:6379  # the same over Redis, or nats://…
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"io/fs"
	"log"
	"net/http"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/hub/coderws"
)

//go:embed page
var files embed.FS

// event is what servers and pages send each other. Kind is said, here or kick.
type event struct {
	Kind, Text, From string
	Users            []string
}

func main() {
	address := flag.String("broker", "memory", "memory, redis://host:port, nats://host:port, or another form of package broker/dial")
	listen := flag.String("listen", "localhost:8081,localhost:8082", "addresses of servers to start in this process")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	system, err := dial.New(*address, nil)
	check(err)
	for at := range strings.SplitSeq(*listen, ",") {
		b, err := system.Broker()
		check(err)
		chat, handler := newServer(ctx, b)
		web := &http.Server{Addr: at, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		go func() { check(web.ListenAndServe()) }()
		defer func() { // clients reconnect to the next process, 500 in a second
			ctx, node := context.Background(), chat.Namespace().Node()
			check(errors.Join(chat.Drain(ctx, 500), chat.Close(ctx), node.Close(ctx), b.Close(ctx)))
		}()
		log.Printf("listening on http://%s", at)
	}
	<-ctx.Done()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// newServer makes one server of the fleet: its hub, and what it serves.
func newServer(ctx context.Context, b broker.Broker) (*hub.Hub, http.Handler) {
	node, err := backplane.New(b, nil)
	check(err)
	chat, err := hub.New(ctx, node, "chat", &hub.Options{
		Authenticate: func(r *http.Request) (hub.Identity, error) {
			name, room := strings.TrimSpace(r.FormValue("name")), r.FormValue("room")
			if name == "" || room == "" { // a real program looks at a session
				return hub.Identity{}, hub.Refuse(http.StatusUnauthorized, "a name and a room are required")
			}
			return hub.Identity{User: name, Rooms: []string{room}, Value: room}, nil
		},
		OnConnect:    here,
		OnDisconnect: func(c *hub.Conn, _ *hub.CloseError) { here(context.Background(), c) },
		OnMessage: hub.OnJSON(func(ctx context.Context, c *hub.Conn, e event) error {
			if e.Kind == "kick" { // everybody may do that here, with everybody
				_, err := c.Hub().Kick(ctx, hub.User(e.Text), 4001, "kicked by "+c.User())
				return err
			}
			return c.Hub().SendJSON(ctx, room(c), event{Kind: "said", From: c.User(), Text: e.Text})
		}),
	})
	check(err)
	page, _ := fs.Sub(files, "page")
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(page))
	mux.Handle("/chat", coderws.Handler(chat, nil))
	return chat, mux
}

func room(c *hub.Conn) hub.Target { return hub.Room(c.Value().(string)) }

// here sends the list of users in a room, of all servers, to the room.
func here(ctx context.Context, c *hub.Conn) error {
	list, err := c.Hub().Connections(ctx, room(c)) // of the servers that responded
	users := []string{}
	for _, info := range list {
		users = append(users, info.User)
	}
	slices.Sort(users)
	return errors.Join(err, c.Hub().SendJSON(ctx, room(c), event{Kind: "here", Users: slices.Compact(users)}))
}
