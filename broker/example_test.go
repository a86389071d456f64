package broker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// printer is a receiver. The broker's goroutine calls its methods, one at a time.
type printer struct{ delivered chan struct{} }

func (p *printer) Deliver(ch broker.Channel, payload []byte) {
	fmt.Printf("%s: %s\n", ch.Name(), payload)
	close(p.delivered)
}

func (p *printer) Interrupted(err error) { fmt.Println("messages may be missed from here on:", err) }
func (p *printer) Resumed()              { fmt.Println("live again; read missed state from the store") }

// A program that uses a broker without a node.
func ExampleBroker() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var b broker.Broker = memorybroker.New(nil) // or redisbroker.Open, natsbroker.Open

	news := broker.Native.Room("/chat", "news")
	receiver := &printer{delivered: make(chan struct{})}
	if _, err := b.Subscribe(ctx, receiver, broker.Exactly(news)); err != nil {
		panic(err)
	}
	if err := b.Publish(ctx, news, []byte("hello")); err != nil {
		panic(err)
	}
	<-receiver.delivered
	fmt.Println("closed:", b.Close(ctx))
	// Output:
	// news: hello
	// closed: <nil>
}

// What to do about lost messages: Loss has their number, so the application knows what it must send again.
func ExampleLossError() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	b := memorybroker.New(nil)
	defer b.Close(ctx)

	err := b.Flush(ctx) // until all messages published before are sent or lost
	var lost *broker.LossError
	switch {
	case err == nil:
		fmt.Println("all sent")
	case errors.As(err, &lost):
		fmt.Println("send the batch again:", lost.Messages, "lost, and perhaps sent:", lost.Uncertain)
	default:
		fmt.Println("not known yet:", err) // the context's error, or ErrClosed
	}
	// Output: all sent
}
