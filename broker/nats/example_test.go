package natsbroker_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
)

// New takes the addresses and credentials from a connection of the program, and does not use it.
func ExampleNew() {
	nc, err := nats.Connect("tls://a.example:4222,tls://b.example:4222",
		nats.UserCredentials("service.creds"), nats.RootCAs("ca.pem"), nats.Name("chat"))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	b, err := natsbroker.New(nc, &natsbroker.Options{Prefix: "shop.eu"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(context.Background())
}

// OnLoss reports messages that are lost or uncertain.
func ExampleOpen() {
	b, err := natsbroker.Open("nats://localhost:4222", nil)
	if err != nil {
		log.Fatal(err)
	}
	b.OnLoss(func(l broker.Loss) {
		log.Printf("%d messages lost (uncertain: %v): %v", l.Messages, l.Uncertain, l.Err)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.Publish(ctx, broker.Native.Room("/chat", "lobby"), []byte("hello")); err != nil {
		log.Fatal(err)
	}
	var loss *broker.LossError
	if err := b.Close(ctx); errors.As(err, &loss) {
		fmt.Println("not sent:", loss.Messages)
	}
}
