package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// goredisSubscribe calls arrived for every message of a channel until close is
// called, in one goroutine that reads with Receive.
func goredisSubscribe(ctx context.Context, client *redis.Client, channel string, arrived func(payload string)) (close func(), err error) {
	sub := client.Subscribe(ctx, channel)
	if _, err := sub.Receive(ctx); err != nil { // the confirmation
		sub.Close()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			got, err := sub.Receive(ctx)
			if err != nil {
				return
			}
			if m, ok := got.(*redis.Message); ok {
				arrived(m.Payload)
			}
		}
	}()
	return func() {
		sub.Close()
		<-done
	}, nil
}

// bareRedis awaits the reply of each PUBLISH, as anybody does who calls Publish.
func bareRedis(ctx context.Context, e *env, arrived func(), run withPublish) (figures, error) {
	client := e.client()
	defer client.Close()
	stop, err := goredisSubscribe(ctx, client, "go-redis", func(string) { arrived() })
	if err != nil {
		return nil, err
	}
	defer stop()
	return run(func(ctx context.Context) error { return client.Publish(ctx, "go-redis", event).Err() })
}

// goredisExchange is a question and an answer in its barest form: one side
// publishes, the other receives and publishes back.
func goredisExchange(ctx context.Context, e *env) (figures, error) {
	client := e.client()
	defer client.Close()
	answers := make(chan error, 1)
	stopB, err := goredisSubscribe(ctx, client, "question", func(string) {
		if err := client.Publish(ctx, "answer", event).Err(); err != nil {
			answers <- err
		}
	})
	if err != nil {
		return nil, err
	}
	defer stopB()
	stopA, err := goredisSubscribe(ctx, client, "answer", func(string) { answers <- nil })
	if err != nil {
		return nil, err
	}
	defer stopA()
	return repeated(ctx, e.length/2, func(ctx context.Context) error {
		if err := client.Publish(ctx, "question", event).Err(); err != nil {
			return err
		}
		select {
		case err := <-answers:
			return err
		case <-time.After(5 * time.Second):
			return context.DeadlineExceeded
		}
	})
}
