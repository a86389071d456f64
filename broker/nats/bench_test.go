package natsbroker_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/servers"
)

// counter is a receiver that closes done after a number of messages.
type counter struct {
	left atomic.Int64
	done chan struct{}
}

func (c *counter) Deliver(broker.Channel, []byte) {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}
func (c *counter) Interrupted(error) {}
func (c *counter) Resumed()          {}

// BenchmarkThroughput publishes 128-byte messages to one room, from 1 or 64 goroutines,
// until another broker has received all of them.
func BenchmarkThroughput(b *testing.B) {
	srv := servers.StartNATS(b, nil)
	payload := bytes.Repeat([]byte("x"), 128)
	for name, publishers := range map[string]int{"1": 1, "64": 64} {
		b.Run(name, func(b *testing.B) {
			from, to := open(b, srv.URL(), nil), open(b, srv.URL(), nil)
			ctx := context.Background()
			c := &counter{done: make(chan struct{})}
			c.left.Store(int64(b.N))
			if _, err := to.Subscribe(ctx, c, broker.Native.EveryRoom("/")); err != nil {
				b.Fatal(err)
			}
			if err := from.Publish(ctx, broker.Native.Room("/other", "room"), nil); err != nil {
				b.Fatal(err)
			}
			if err := from.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range publishers {
				n := b.N / publishers
				if i < b.N%publishers {
					n++
				}
				wg.Go(func() {
					for range n {
						if err := from.Publish(ctx, broker.Native.Room("/", "room1"), payload); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			<-c.done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
