// Command load holds many stock clients on a fleet of three Go chat nodes, sends messages in rooms, and counts the
// deliveries:
//
//	go run ./chat/load                      # 5,000 connections, 50 rooms, two minutes
//	go run ./chat/load -conns 600 -for 10s
//	go run ./chat/load -kind node           # the same on Node.js nodes, to compare
//
// Nodes, clients and the redis-server are processes of their own on this machine, and share it. Clients are
// socket.io-client in a few Node.js processes (worker.js), which need the packages of ../node. Each room gets one
// message a second. The exit status is 1 if a message was lost, duplicated or out of order, or if a connection broke.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/crossroom/crossroom/internal/child"
)

type options struct {
	conns, rooms, workers, rate int
	length                      time.Duration
	broker, kind, dir           string
}

func main() {
	var o options
	flag.IntVar(&o.conns, "conns", 5000, "connections of stock clients, over all nodes")
	flag.IntVar(&o.rooms, "rooms", 50, "rooms, each with one message a second")
	flag.IntVar(&o.workers, "workers", 4, "Node.js processes that hold the clients")
	flag.IntVar(&o.rate, "rate", 200, "connections a second that are begun")
	flag.DurationVar(&o.length, "for", 2*time.Minute, "how long is talked, in whole seconds")
	flag.StringVar(&o.broker, "broker", "", "address of the broker; empty starts a redis-server")
	flag.StringVar(&o.kind, "kind", "go", "kind of the nodes: go, or node to compare with")
	flag.StringVar(&o.dir, "dir", "chat", "directory of the chat example")
	flag.Parse()
	if o.conns < o.rooms || o.rooms < 1 || o.workers < 1 || o.rate < o.workers || o.length < time.Second {
		fmt.Fprintln(os.Stderr, "load: at least one room, as many connections as rooms, one worker, one second")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (ok bool, err error) {
	if o.broker == "" {
		redis, err := child.StartRedis(ctx)
		if err != nil {
			return false, err
		}
		defer redis.Stop()
		o.broker = redis.URL
	}
	p, err := newProcesses(ctx)
	if err != nil {
		return false, err
	}
	defer p.end() // before Redis

	fleet, err := p.startFleet(o)
	if err != nil {
		return false, err
	}
	before, err := fleet.memory()
	if err != nil {
		return false, err
	}
	fmt.Printf("three nodes (%s), %d connections of socket.io-client in %d processes, %d rooms\n", o.kind, o.conns, o.workers, o.rooms)

	fmt.Printf("machine     %d processors, load average %s before\n", runtime.NumCPU(), loadAverage())

	var workers []*worker
	for i := range o.workers {
		w, err := p.startWorker(o, fleet.urls, i)
		if err != nil {
			return false, err
		}
		workers = append(workers, w)
	}
	began := time.Now()
	connected := 0
	for _, w := range workers {
		var r struct{ Connected int }
		if err := w.read(ctx, &r, time.Minute+time.Duration(o.conns/o.rate)*time.Second); err != nil {
			return false, err
		}
		connected += r.Connected
	}
	idle, err := fleet.memory()
	if err != nil {
		return false, err
	}
	fmt.Printf("connected   %d in %.1f s\n", connected, time.Since(began).Seconds())

	sent := make(map[string]int)
	for _, w := range workers {
		w.write(map[string]any{"talk": int(o.length.Seconds())})
	}
	for _, w := range workers {
		var r struct{ Sent map[string]int }
		if err := w.read(ctx, &r, o.length+time.Minute); err != nil {
			return false, err
		}
		for room, n := range r.Sent {
			sent[room] += n
		}
	}
	busy, err := fleet.memory()
	if err != nil {
		return false, err
	}
	var all figures
	for _, w := range workers {
		w.write(map[string]any{"expect": sent, "patience": 20})
	}
	for _, w := range workers {
		var one figures
		if err := w.read(ctx, &one, time.Minute); err != nil {
			return false, err
		}
		all.add(one)
	}
	all.print(os.Stdout, sent)
	fmt.Printf("memory      %.1f KiB a connection idle, %.1f KiB after talking (resident memory of the nodes in MiB: %.1f before, %.1f, %.1f)\n",
		float64(idle-before)/float64(connected)/1024, float64(busy-before)/float64(connected)/1024,
		mib(before), mib(idle), mib(busy))
	return connected == o.conns && all.clean(), nil
}

// loadAverage returns the machine's load average of the last minute; empty if unknown.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
