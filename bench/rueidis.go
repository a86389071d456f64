package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// rueidisClients awaits the reply of each PUBLISH, which rueidis sends together with those of other goroutines. One
// client publishes, another receives.
func rueidisClients(ctx context.Context, s *stage, arrived func()) (publish, error) {
	var both [2]rueidis.Client
	for i := range both {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.redis.Addr}})
		if err != nil {
			return nil, err
		}
		s.later(func() error { client.Close(); return nil })
		both[i] = client
	}
	ctx, stop := context.WithCancel(ctx)
	subscribed, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		hooked := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { close(subscribed) })
		ended <- both[1].Receive(hooked, both[1].B().Subscribe().Channel("rueidis").Build(), func(rueidis.PubSubMessage) { arrived() })
	}()
	s.later(func() error { stop(); <-ended; return nil })
	select {
	case <-subscribed:
	case <-time.After(10 * time.Second):
		return nil, fmt.Errorf("rueidis is not subscribed after 10 s")
	}
	return func(ctx context.Context) error {
		return both[0].Do(ctx, both[0].B().Publish().Channel("rueidis").Message(event).Build()).Error()
	}, nil
}
