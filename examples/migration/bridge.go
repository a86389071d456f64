package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/crossroom/crossroom/adapter"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

// bridge is a Go node on both prefixes. It forwards the messages of each prefix to the other, or stands by while
// another such node does, until its input ends. A production program waits for SIGTERM instead.
func bridge(ctx context.Context, redis string, in io.Reader, out io.Writer) (err error) {
	old, err := redisbroker.Open(redis, nil) // prefix socket.io
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close(ctx)) }()
	recent, err := redisbroker.Open(redis, &redisbroker.Options{Prefix: "socket.io-4"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recent.Close(ctx)) }()
	server, err := adapter.New(recent, &adapter.Options{
		Links:     []adapter.Link{{Broker: old, Dialect: adapter.V5}},
		Bridge:    &adapter.Bridge{},
		Heartbeat: 400 * time.Millisecond, // to shorten the wait after a killed node; the default is 1 s
		OnError:   func(err error) { log.Println("bridge:", err) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(ctx)) }()
	lobby, err := server.Of(ctx, "/") // each namespace to bridge
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")

	// Not needed for forwarding: it lists the sockets.
	for {
		var word string
		if _, err := fmt.Fscan(in, &word); err != nil {
			return nil
		}
		sockets, err := lobby.To("lobby").FetchSockets(ctx)
		if err != nil {
			fmt.Fprintln(out, "error:", err)
			continue
		}
		fmt.Fprintf(out, "sockets in the lobby: %d", len(sockets.List))
		for _, link := range sockets.Links {
			fmt.Fprintf(out, "; Node.js servers on %s: %d", link.Prefix, link.Foreign)
		}
		fmt.Fprintln(out)
	}
}
