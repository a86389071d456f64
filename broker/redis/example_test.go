package redisbroker_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
)

type printer struct{}

func (printer) Deliver(ch broker.Channel, payload []byte) { fmt.Println(ch, string(payload)) }
func (printer) Interrupted(err error)                     { fmt.Println("messages may be missed:", err) }
func (printer) Resumed()                                  { fmt.Println("live again") }

func ExampleOpen() {
	ctx := context.Background()
	b, err := redisbroker.Open("redis://localhost:6379", nil)
	if err != nil {
		panic(err)
	}
	defer b.Close(ctx)
	if _, err := b.Subscribe(ctx, printer{}, broker.Native.EveryRoom("/chat")); err != nil {
		panic(err) // no server at this address, or it refuses the user
	}
	if err := b.Publish(ctx, broker.Native.Room("/chat", "lobby"), []byte("hello")); err != nil {
		panic(err)
	}
	if err := b.Flush(ctx); err != nil {
		panic(err) // messages are lost or uncertain
	}
}

// New uses a client that the program already has, here by Sentinel.
func ExampleNew() {
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:    "main",
		SentinelAddrs: []string{"sentinel1:26379", "sentinel2:26379"},
		Username:      "chat",
		Password:      "secret",
	})
	defer client.Close()
	b, err := redisbroker.New(client, &redisbroker.Options{
		Prefix:   "shop",
		QueueAge: 5 * time.Second, // older messages are useless to this program
	})
	if err != nil {
		panic(err)
	}
	defer b.Close(context.Background())
}
