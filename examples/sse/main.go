// Command sse shows prices to browsers with server-sent events, on package hub. A browser that reconnects, to any of
// the servers, gets the prices that it missed.
//
//	go run ./sse                                 # two servers in this process
//	go run ./sse -broker redis://localhost:6379  # the same over Redis, or nats://…
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/hub"
	"github.com/crossroom/crossroom/outgoing"
)

//go:embed page
var files embed.FS

// history has the last prices. It stands for a store that all servers share.
type history struct {
	mu   sync.Mutex
	list []hub.Message
}

func (h *history) add(m hub.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list[max(0, len(h.list)-99):], m)
}

// after is Options.Resume of the hubs.
func (h *history) after(_ context.Context, _ *hub.Conn, last string) ([]hub.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.list, func(m hub.Message) bool { return m.ID == last })
	if i < 0 {
		return slices.Clone(h.list), hub.ErrGap // the page begins anew
	}
	return slices.Clone(h.list[i+1:]), nil
}

func main() {
	address := flag.String("broker", "memory", "memory, redis://host:port, nats://host:port, or another form of package broker/dial")
	listen := flag.String("listen", "localhost:8081,localhost:8082", "addresses of servers to start in this process")
	flag.Parse()
	ctx := context.Background()
	system, err := dial.New(*address, nil)
	check(err)
	var prices *hub.Hub
	store := &history{}
	for at := range strings.SplitSeq(*listen, ",") {
		b, err := system.Broker()
		check(err)
		var handler http.Handler
		prices, handler = newServer(ctx, b, store)
		web := &http.Server{Addr: at, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
		go func() { check(web.ListenAndServe()) }()
		log.Printf("listening on http://%s", at)
	}
	for price := 320.0; ; price = max(1, price+rand.NormFloat64()*4) {
		check(publish(ctx, prices, store, price))
		time.Sleep(500 * time.Millisecond)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// publish sends a price to the browsers of all servers.
func publish(ctx context.Context, prices *hub.Hub, store *history, price float64) error {
	m := hub.Message{Event: "price", ID: fmt.Sprint(time.Now().UnixNano()), Data: fmt.Appendf(nil, `{"tea":%.2f}`, price/100)}
	store.add(m)
	return prices.Send(ctx, hub.Everyone(), m)
}

// newServer makes one server of the fleet: its hub, and what it serves.
func newServer(ctx context.Context, b broker.Broker, store *history) (*hub.Hub, http.Handler) {
	node, err := backplane.New(b, nil)
	check(err)
	prices, err := hub.New(ctx, node, "prices", &hub.Options{
		Resume: store.after,
		Queue:  outgoing.Options{WhenFull: outgoing.DropOldest}, // the next price is better
	})
	check(err)
	page, _ := fs.Sub(files, "page")
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServerFS(page))
	mux.Handle("/events", prices.SSE())
	return prices, mux
}
