package interop

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Published is a message as Redis transmitted it.
type Published struct {
	Channel string
	Payload string
}

// Watcher receives every message published on a Redis server, with or without subscribers. It is a
// pattern subscription, which fleets neither count nor notice.
type Watcher struct {
	client *redis.Client
	pubsub *redis.PubSub
}

// Watch begins to watch. The subscription is live on return.
func Watch(tb testing.TB, url string) *Watcher {
	tb.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	w := &Watcher{client: redis.NewClient(options)}
	w.pubsub = w.client.PSubscribe(tb.Context(), "*")
	if _, err := w.pubsub.Receive(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = w.pubsub.Close()
		_ = w.client.Close()
	})
	return w
}

// Publish publishes as a foreign sender does.
func (w *Watcher) Publish(ctx context.Context, channel, payload string) error {
	return w.client.Publish(ctx, channel, payload).Err()
}

// Since returns what was published since its last call, or since Watch.
func (w *Watcher) Since(ctx context.Context) ([]Published, error) {
	const end = "interop-watcher-end"
	if err := w.Publish(ctx, end, ""); err != nil {
		return nil, err
	}
	var all []Published
	for {
		m, err := w.pubsub.ReceiveMessage(ctx)
		if err != nil {
			return all, err
		}
		if m.Channel == end {
			return all, nil
		}
		all = append(all, Published{m.Channel, m.Payload})
	}
}
