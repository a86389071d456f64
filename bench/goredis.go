package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// goredisClient returns a new go-redis client, configured like a user's.
func goredisClient(s *stage) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr})
	s.later(client.Close)
	return client
}

// goredisSubscribe calls arrived for every message of a channel, on one goroutine that reads with Receive.
func goredisSubscribe(ctx context.Context, s *stage, client *redis.Client, channel string, arrived func()) error {
	sub := client.Subscribe(ctx, channel)
	return goredisReceive(ctx, s, sub, func(string) { arrived() })
}

func goredisReceive(ctx context.Context, s *stage, sub *redis.PubSub, arrived func(channel string)) error {
	if _, err := sub.Receive(ctx); err != nil { // the confirmation
		return errors.Join(err, sub.Close())
	}
	s.later(sub.Close)
	go func() { // ends when sub is closed
		for {
			got, err := sub.Receive(ctx)
			if err != nil {
				return
			}
			if m, ok := got.(*redis.Message); ok {
				arrived(m.Channel)
			}
		}
	}()
	return nil
}

// goredis awaits the reply of each PUBLISH, like every caller of Publish.
func goredis(ctx context.Context, s *stage, arrived func()) (publish, error) {
	client := goredisClient(s)
	if err := goredisSubscribe(ctx, s, client, "go-redis", arrived); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return client.Publish(ctx, "go-redis", event).Err() }, nil
}

// goredisExchange is a minimal request with responses: one client publishes, the others receive and publish back.
func goredisExchange(responders int) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		// Other exchanges may be open at the same time.
		there, back := fmt.Sprint("request to ", responders), fmt.Sprint("response of ", responders)
		responses := make(chan error, responders)
		var busy sync.WaitGroup // responders that await the reply of their PUBLISH
		for range responders {
			client := goredisClient(s)
			if err := goredisSubscribe(ctx, s, client, there, func() {
				busy.Add(1)
				defer busy.Done()
				if err := client.Publish(ctx, back, event).Err(); err != nil {
					responses <- err
				}
			}); err != nil {
				return nil, err
			}
		}
		client := goredisClient(s)
		if err := goredisSubscribe(ctx, s, client, back, func() { responses <- nil }); err != nil {
			return nil, err
		}
		s.later(func() error { busy.Wait(); return nil })
		return func(ctx context.Context) (int64, figures, error) {
			ctx, cancel := context.WithTimeout(ctx, s.length+10*time.Second)
			defer cancel()
			return s.oneByOne(func() error {
				if err := client.Publish(ctx, there, event).Err(); err != nil {
					return err
				}
				for i := range responders {
					select {
					case err := <-responses:
						if err != nil {
							return err
						}
					case <-ctx.Done():
						return fmt.Errorf("%d responses of %d: %w", i, responders, ctx.Err())
					}
				}
				return nil
			})
		}, nil
	}
}
