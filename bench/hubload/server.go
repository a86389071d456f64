package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/olahol/melody"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/hub/coderws"
	"github.com/crossroom/crossroom/hub/gorillaws"
)

// contenders make a handler of WebSockets, and a function that sends a message to all of them. All have their defaults,
// except that nothing is logged.
var contenders = map[string]func() (http.Handler, func([]byte) error, error){
	"hub coder/websocket": func() (http.Handler, func([]byte) error, error) {
		h, err := newHub()
		return coderws.Handler(h, nil), toAll(h), err
	},
	"hub gorilla/websocket": func() (http.Handler, func([]byte) error, error) {
		h, err := newHub()
		return gorillaws.Handler(h, nil), toAll(h), err
	},
	"centrifuge": func() (http.Handler, func([]byte) error, error) {
		node, err := centrifuge.New(centrifuge.Config{})
		if err != nil {
			return nil, nil, err
		}
		node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
			return centrifuge.ConnectReply{
				Credentials:   &centrifuge.Credentials{UserID: "user"},
				Subscriptions: map[string]centrifuge.SubscribeOptions{"all": {}},
			}, nil
		})
		return centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}), func(b []byte) error {
			_, err := node.Publish("all", b)
			return err
		}, node.Run()
	},
	"melody": func() (http.Handler, func([]byte) error, error) {
		m := melody.New()
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.HandleRequest(w, r) }), m.Broadcast, nil
	},
}

func newHub() (*hub.Hub, error) {
	node, err := backplane.New(memorybroker.NewBus(nil).Broker(), nil)
	if err != nil {
		return nil, err
	}
	return hub.New(context.Background(), node, "load", nil)
}

func toAll(h *hub.Hub) func([]byte) error {
	return func(b []byte) error { return h.Send(context.Background(), hub.Everyone(), hub.Message{Data: b}) }
}

// server serves a contender until its standard input ends.
func server(name string) error {
	handler, send, err := contenders[name]()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(listener, handler)
	out := json.NewEncoder(os.Stdout)
	out.Encode(report{Address: listener.Addr().String()})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		var r report
		switch words[0] {
		case "measure":
			r = measure()
		case "broadcast":
			size, _ := strconv.Atoi(words[2])
			message := []byte(`{"n":` + words[1] + `,"text":"`)
			message = append(append(message, bytes.Repeat([]byte("x"), max(0, size-len(message)-2))...), `"}`...)
			r.CPU = processor()
			r.Sent = time.Now().UnixNano()
			if err := send(message); err != nil {
				return err
			}
		}
		if words[0] == "cpu" {
			r.CPU = processor()
		}
		out.Encode(r)
	}
	return nil
}

// measure waits until the number of goroutines has stayed for a second, pings apart, collects garbage, and returns what
// the process uses.
func measure() report {
	for last, same := 0, 0; same < 5; time.Sleep(200 * time.Millisecond) {
		if n := runtime.NumGoroutine(); max(n-last, last-n) <= 10 {
			same++
		} else {
			last, same = n, 0
		}
	}
	runtime.GC()
	debug.FreeOSMemory()
	time.Sleep(500 * time.Millisecond)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return report{Go: m.HeapAlloc + m.StackInuse, System: resident(), Goroutines: runtime.NumGoroutine()}
}

// resident returns the memory of the process, of /proc.
func resident() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var total, pages uint64
	fmt.Sscan(string(b), &total, &pages)
	return pages * uint64(os.Getpagesize())
}

func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
