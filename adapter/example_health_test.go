package adapter_test

import (
	"context"
	"fmt"
	"log"
	"time"
)

// A server that is ready receives and publishes. Health says the same at any time, without I/O.
func ExampleServer_Ready() {
	first, _, stop := twoServers()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	server := first.Server()
	if err := server.Ready(ctx); err != nil {
		log.Fatal(err)
	}
	h := server.Health()
	fmt.Println(h.Ready, h.Subscribed.Up, h.Publishing.Up, h.Queries.Up, h.Publishing.Err)
	// Output: true true true true <nil>
}
