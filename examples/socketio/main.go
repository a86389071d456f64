// Command socketio is the chat of examples/chat on the Socket.IO server of zishang520, with Crossroom as its adapter.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/contrib/zishang520"
	"github.com/crossroom/crossroom/examples/chat/page"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

type object = map[string]any

var (
	address = flag.String("broker", "redis://127.0.0.1:6379", "the Redis server")
	name    = flag.String("name", "go-1", "of this node")
	port    = flag.Int("port", 8081, "to listen on, at 127.0.0.1")
	nodes   = flag.String("nodes", "[]", "what pages offer, as JSON: [{name, url, kind}, …]")
	dir     = flag.String("page", "page", "directory of the page")
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
	http.Handle("/", page.Secure(http.FileServer(http.Dir(*dir))))
	http.HandleFunc("/nodes.json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, *nodes) })
	go func() { log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *port), nil)) }()
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	io.Close(nil)
	fmt.Println("closed:", errors.Join(fleet.Close(ctx), b.Close(ctx)))
}

// roomPrefix keeps the rooms that users name apart from those of the sockets' ids.
const roomPrefix = "room:"

// since returns when a member has connected: a number of this node, or of another one's JSON or msgpack.
func since(member any) (ms float64) {
	fmt.Sscan(fmt.Sprint(member.(object)["since"]), &ms)
	return ms
}

// chat puts the events of ../chat/node/server.js on a namespace.
func chat(ns socket.Namespace) {
	stats := func() object {
		return object{"name": *name, "kind": "go", "sockets": ns.Sockets().Len(), "rooms": []string{}}
	}
	ns.On("stats", func(args ...any) { args[0].(socket.Ack)([]any{stats()}, nil) })
	ns.On("connection", func(args ...any) {
		s := args[0].(*socket.Socket)
		me := object{"id": s.Id(), "name": s.Handshake().Auth["name"], "node": *name, "since": time.Now().UnixMilli()}
		s.SetData(me)
		s.Emit("node", object{"name": *name})
		there := func(room string) bool { return s.Rooms().Has(socket.Room(roomPrefix + room)) }
		on := func(event string, handler func(arg any, room string, answer func(object))) {
			s.On(event, func(args ...any) {
				if len(args) == 0 {
					return
				}
				ack, asked := args[len(args)-1].(socket.Ack)
				answer := func(o object) {
					if asked {
						ack([]any{o}, nil)
					}
				}
				room, _ := args[0].(string)
				if said, is := args[0].(object); is {
					room, _ = said["room"].(string)
				}
				if event != "fleet" && event != "join" && !there(room) || len(room) > 240 {
					answer(object{"ok": false, "error": "not in that room"})
					return
				}
				handler(args[0], room, func(o object) { o["ok"] = o["error"] == nil; answer(o) })
			})
		}
		members := func(_ any, room string, answer func(object)) {
			ns.In(socket.Room(roomPrefix + room)).FetchSockets()(func(list []*socket.RemoteSocket, _ error) {
				found := []any{}
				for _, s := range list {
					data, _ := s.Data().(object)
					found = append(found, object{"id": s.Id(), "name": data["name"], "node": data["node"], "since": data["since"]})
				}
				slices.SortStableFunc(found, func(a, b any) int { return cmp.Compare(since(a), since(b)) }) // as Node.js nodes sort
				answer(object{"members": found, "missing": []string{}})
			})
		}
		on("members", members)
		on("join", func(_ any, room string, answer func(object)) {
			s.Join(socket.Room(roomPrefix + room))
			s.To(socket.Room(roomPrefix+room)).Emit("joined", object{"room": room, "member": me})
			members(nil, room, answer)
		})
		on("leave", func(_ any, room string, answer func(object)) {
			s.Leave(socket.Room(roomPrefix + room))
			ns.To(socket.Room(roomPrefix+room)).Emit("left", object{"room": room, "member": me})
			answer(object{})
		})
		// The first of a room's members may kick the others.
		on("kick", func(arg any, room string, answer func(object)) {
			id, _ := arg.(object)["id"].(string)
			members(nil, room, func(o object) {
				list := o["members"].([]any)
				if len(list) == 0 || list[0].(object)["id"] != s.Id() {
					answer(object{"error": "only the room's first member may kick"})
					return
				}
				for _, m := range list {
					if m.(object)["id"] == socket.SocketId(id) {
						ns.In(socket.Room(id)).Emit("kicked", object{"by": me["name"]})
						ns.In(socket.Room(id)).DisconnectSockets(false) // on any node; the order is kept
					}
				}
				answer(object{})
			})
		})
		s.On("disconnecting", func(...any) {
			for _, room := range s.Rooms().Keys() {
				if name, ok := strings.CutPrefix(string(room), roomPrefix); ok {
					s.To(room).Emit("left", object{"room": name, "member": me})
				}
			}
		})
		on("say", func(arg any, room string, answer func(object)) {
			m, _ := arg.(object)
			said := object{"room": room, "from": me, "node": *name, "at": time.Now().UnixMilli()}
			for _, key := range []string{"text", "file", "fileName"} {
				if v := m[key]; v != nil {
					said[key] = v
				}
			}
			ns.To(socket.Room(roomPrefix+room)).Emit("said", said)
			answer(object{})
		})
		on("fleet", func(_ any, _ string, answer func(object)) {
			ns.ServerSideEmitWithAck("stats")(func(all []any, _ error) {
				answer(object{"nodes": append([]any{stats()}, all...), "missing": []string{}})
			})
		})
	})
}
