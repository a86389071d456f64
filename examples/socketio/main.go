// Command socketio is the chat of examples/chat on the Socket.IO server of zishang520, with Crossroom as its adapter.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/contrib/zishang520"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

type object = map[string]any

var (
	address = flag.String("broker", "redis://127.0.0.1:6379", "the Redis server")
	name    = flag.String("name", "go-1", "of this node")
	port    = flag.Int("port", 8081, "to listen on, at 127.0.0.1")
	nodes   = flag.String("nodes", "[]", "what pages offer, as JSON: [{name, url, kind}, …]")
	page    = flag.String("page", "page", "directory of the page")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := redisbroker.Open(*address, nil)
	if err != nil {
		log.Fatal(err)
	}
	io, fleet := socket.NewServer(nil, nil), zishang520.New(b, nil)
	io.SetAdapter(fleet)
	chat(io.Of("/chat", nil))
	http.Handle("/socket.io/", io.ServeHandler(nil))
	http.Handle("/", http.FileServer(http.Dir(*page)))
	http.HandleFunc("/nodes.json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, *nodes) })
	go func() { log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *port), nil)) }()
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	io.Close(nil)
	fmt.Println("closed:", errors.Join(fleet.Close(ctx), b.Close(ctx)))
}

// chat puts the events of ../chat/node/server.js on a namespace.
func chat(ns socket.Namespace) {
	stats := func() object {
		return object{"name": *name, "kind": "go", "sockets": ns.Sockets().Len(), "rooms": []string{}}
	}
	ns.On("stats", func(args ...any) { args[0].(socket.Ack)([]any{stats()}, nil) })
	ns.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		me := object{"id": s.Id(), "name": s.Handshake().Auth["name"], "node": *name}
		s.SetData(me)
		s.Emit("node", object{"name": *name})
		on := func(event string, handler func(arg any, room socket.Room, answer func(object))) {
			s.On(event, func(args ...any) { // the page always asks for an answer
				text, _ := args[0].(string)
				ack, _ := args[len(args)-1].(socket.Ack)
				handler(args[0], socket.Room(text), func(o object) { o["ok"] = true; ack([]any{o}, nil) })
			})
		}
		members := func(_ any, room socket.Room, answer func(object)) {
			ns.In(room).FetchSockets()(func(list []*socket.RemoteSocket, _ error) {
				found := []any{}
				for _, s := range list {
					data, _ := s.Data().(object)
					found = append(found, object{"id": s.Id(), "name": data["name"], "node": data["node"]})
				}
				answer(object{"members": found, "missing": []string{}})
			})
		}
		on("members", members)
		on("join", func(_ any, room socket.Room, answer func(object)) {
			s.Join(room)
			s.To(room).Emit("joined", object{"room": room, "member": me})
			members(nil, room, answer)
		})
		on("say", func(arg any, _ socket.Room, answer func(object)) {
			said := arg.(object) // room, text, file, fileName
			said["from"], said["node"], said["at"] = me, *name, time.Now().UnixMilli()
			ns.To(socket.Room(said["room"].(string))).Emit("said", said)
			answer(object{})
		})
		on("fleet", func(_ any, _ socket.Room, answer func(object)) {
			ns.ServerSideEmitWithAck("stats")(func(all []any, _ error) {
				answer(object{"nodes": append([]any{stats()}, all...), "missing": []string{}})
			})
		})
	})
}
