package dial_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker/dial"
)

// One node, on the broker that the configuration names.
func ExampleOpen() {
	b, err := dial.Open("rediss://chat:secret@redis.example:6379?client_name=chat", &dial.Options{Prefix: "shop"})
	if err != nil {
		panic(err)
	}
	defer b.Close(context.Background())
	fmt.Println(b.Capabilities().Name, b.Capabilities().Prefix)
	// Output: redis shop
}

// Several nodes in one process, on any broker.
func ExampleNew() {
	system, err := dial.New("memory", nil)
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	for range 2 {
		b, err := system.Broker()
		if err != nil {
			panic(err)
		}
		defer b.Close(ctx) // after its server
		server, err := adapter.New(b, nil)
		if err != nil {
			panic(err)
		}
		defer server.Close(ctx)
		chat, err := server.Of(ctx, "/chat")
		if err != nil {
			panic(err)
		}
		n, err := chat.ServerCount(ctx)
		fmt.Println(system.System(), n, err)
	}
	// Output:
	// memory 1 <nil>
	// memory 2 <nil>
}

// An address with a database is refused, because it would not separate anything.
func ExampleAddressError() {
	_, err := dial.Open("memory?prefix=shop", nil)
	var refused *dial.AddressError
	fmt.Println(errors.As(err, &refused), refused.Reason)
	_, err = dial.Open("redis://localhost:6379/3", nil)
	fmt.Println(err)
	// Output:
	// true memory has no parameters
	// dial: open broker by its address (not shown, it may hold a password): it has a database, which pub/sub ignores: fleets on one server are separated by Options.Prefix
}
