package redisbroker_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

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

// BenchmarkThroughput publishes 128-byte messages to one room from 64 goroutines,
// until all have been received: through the broker, through plain TCP, and
// with go-redis' Publish.
func BenchmarkThroughput(b *testing.B) {
	srv := servers.StartRedis(b, nil)
	payload := bytes.Repeat([]byte("x"), 128)
	const publishers = 64

	b.Run("broker", func(b *testing.B) {
		node := open(b, srv.URL(), nil)
		ctx := context.Background()
		room := broker.SocketIO.Room("/", "room1")
		c := &counter{done: make(chan struct{})}
		c.left.Store(int64(b.N))
		_, err := node.Subscribe(ctx, c, broker.SocketIO.EveryRoom("/"))
		require.NoError(b, err)
		b.ReportAllocs()
		b.ResetTimer()
		share(b, publishers, func(n int) {
			for range n {
				if err := node.Publish(ctx, room, payload); err != nil {
					b.Error(err)
					return
				}
			}
		})
		<-c.done
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})

	// The limit: one connection writes prepared commands in large pieces, one
	// counts the bytes that arrive.
	b.Run("raw", func(b *testing.B) {
		name := "socket.io#/#room1#"
		command := fmt.Appendf(nil, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$128\r\n%s\r\n", len(name), name, payload)
		frame := fmt.Sprintf("*4\r\n$8\r\npmessage\r\n$13\r\nsocket.io#/#*\r\n$%d\r\n%s\r\n$128\r\n%s\r\n", len(name), name, payload)
		in, out := rawConn(b, srv.Addr()), rawConn(b, srv.Addr())
		fmt.Fprint(in, "PSUBSCRIBE socket.io#/#*\r\n")
		confirmation := make([]byte, len("*3\r\n$10\r\npsubscribe\r\n$13\r\nsocket.io#/#*\r\n:1\r\n"))
		_, err := bufio.NewReaderSize(in, len(confirmation)).Read(confirmation)
		require.NoError(b, err)
		pieces := bytes.Repeat(command, 256)
		b.ResetTimer()
		var wg sync.WaitGroup
		wg.Go(func() { discard(out, int64(b.N)*int64(len(":1\r\n"))) })
		wg.Go(func() { discard(in, int64(b.N)*int64(len(frame))) })
		for left := b.N; left > 0; {
			n := min(left, 256)
			if _, err := out.Write(pieces[:n*len(command)]); err != nil {
				b.Fatal(err)
			}
			left -= n
		}
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})

	b.Run("go-redis", func(b *testing.B) {
		client := redis.NewClient(&redis.Options{Addr: srv.Addr(), PoolSize: publishers})
		defer client.Close()
		ctx := context.Background()
		sub := client.PSubscribe(ctx, "socket.io#/#*")
		defer sub.Close()
		_, err := sub.Receive(ctx)
		require.NoError(b, err)
		b.ReportAllocs()
		b.ResetTimer()
		var wg sync.WaitGroup
		wg.Go(func() {
			for range b.N {
				if _, err := sub.ReceiveMessage(ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
		share(b, publishers, func(n int) {
			for range n {
				if err := client.Publish(ctx, "socket.io#/#room1#", payload).Err(); err != nil {
					b.Error(err)
					return
				}
			}
		})
		wg.Wait()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
}

// share runs f in n goroutines with b.N split among them.
func share(b *testing.B, n int, f func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		part := b.N/n + map[bool]int{true: 1}[i < b.N%n]
		wg.Go(func() { f(part) })
	}
	wg.Wait()
}

func rawConn(b *testing.B, addr string) net.Conn {
	nc, err := net.Dial("tcp", addr)
	require.NoError(b, err)
	b.Cleanup(func() { nc.Close() })
	return nc
}

func discard(nc net.Conn, n int64) {
	buf := make([]byte, 64<<10)
	for n > 0 {
		got, err := nc.Read(buf)
		if err != nil {
			return
		}
		n -= int64(got)
	}
}

// BenchmarkLatency sends 2,000 messages a second and reports the median time from
// Publish to Deliver, and the same with go-redis alone.
func BenchmarkLatency(b *testing.B) {
	srv := servers.StartRedis(b, nil)
	ctx := context.Background()
	payload := bytes.Repeat([]byte("x"), 128)

	measure := func(b *testing.B, send func(), arrived <-chan time.Time) {
		took := make([]time.Duration, 0, b.N)
		next := time.Now()
		for range b.N {
			next = next.Add(500 * time.Microsecond)
			time.Sleep(time.Until(next)) // the load: 2000 a second
			start := time.Now()
			send()
			took = append(took, (<-arrived).Sub(start))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "median-µs")
	}
	b.Run("broker", func(b *testing.B) {
		node := open(b, srv.URL(), nil)
		r := arrivals{make(chan time.Time, 1)}
		_, err := node.Subscribe(ctx, r, broker.SocketIO.EveryRoom("/"))
		require.NoError(b, err)
		measure(b, func() { node.Publish(ctx, broker.SocketIO.Room("/", "room1"), payload) }, r.at)
	})
	b.Run("go-redis", func(b *testing.B) {
		client := redis.NewClient(&redis.Options{Addr: srv.Addr()})
		defer client.Close()
		sub := client.PSubscribe(ctx, "socket.io#/#*")
		_, err := sub.Receive(ctx)
		require.NoError(b, err)
		at := make(chan time.Time, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if _, err := sub.ReceiveMessage(ctx); err != nil {
					return
				}
				at <- time.Now()
			}
		})
		measure(b, func() { client.Publish(ctx, "socket.io#/#room1#", payload) }, at)
		sub.Close()
		wg.Wait()
	})
}

type arrivals struct{ at chan time.Time }

func (a arrivals) Deliver(broker.Channel, []byte) { a.at <- time.Now() }
func (a arrivals) Interrupted(error)              {}
func (a arrivals) Resumed()                       {}
