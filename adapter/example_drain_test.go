package adapter_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/crossroom/crossroom/adapter"
)

// A deployment replaces the first server. Its sockets connect again, 100 of them in a second, so that the other server
// is not overrun.
func ExampleServer_Drain() {
	first, second, stop := twoServers()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for i := range 10 {
		if err := first.Add(ctx, printer(fmt.Sprint("client ", i))); err != nil {
			log.Fatal(err)
		}
	}
	err := first.Server().Drain(ctx, 100, func(ns *adapter.Namespace, s adapter.Socket) {
		s.Disconnect(true) // the client connects to another server
		ns.Remove(s.ID())  // usually where the connection's reader ends
		second.Add(ctx, s)
	})
	fmt.Println(err, first.Len(), second.Len())
	// Output: <nil> 0 10
}
