package redisbroker_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/servers"
)

// BenchmarkNamespaces publishes 128-byte messages from 64 goroutines to one of many
// namespaces, to all of which one node is subscribed. The server compares each message's channel with the
// pattern of each namespace, however many nodes hold it.
func BenchmarkNamespaces(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 128)
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			node := open(b, servers.StartRedis(b, nil).URL(), nil)
			ctx := context.Background()
			c := &counter{done: make(chan struct{})}
			c.left.Store(int64(b.N))
			filters := make([]broker.Filter, n)
			for i := range filters {
				filters[i] = broker.SocketIO.EveryRoom(fmt.Sprint("/", i))
			}
			if _, err := node.Subscribe(ctx, c, filters...); err != nil {
				b.Fatal(err)
			}
			to := broker.SocketIO.Broadcast("/0")
			b.ResetTimer()
			share(b, 64, func(n int) {
				for range n {
					if err := node.Publish(ctx, to, payload); err != nil {
						b.Error(err)
						return
					}
				}
			})
			<-c.done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
