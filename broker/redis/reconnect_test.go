package redisbroker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// counting is a receiver that counts messages.
type counting struct{ n atomic.Int64 }

func (c *counting) Deliver(broker.Channel, []byte) { c.n.Add(1) }
func (c *counting) Interrupted(error)              {}
func (c *counting) Resumed()                       {}

// TestCutsOfSubscriber: when a subscriber's connection is cut, the next one is opened at once, by the default options: of
// 2,000 messages a second, six cuts lose at most twice as many as with a go-redis client alone.
func TestCutsOfSubscriber(t *testing.T) {
	srv := servers.StartRedis(t, nil)
	const cuts, rate, apart = 6, 2000, 250 * time.Millisecond
	direct := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	defer direct.Close()
	name := "socket.io#/#room#"
	// lost is how many messages a subscriber misses over cuts of its link.
	lost := func(link *tcpproxy.Proxy, count func() int64) int64 {
		t.Helper()
		eventually(t, func() error {
			if err := direct.Publish(context.Background(), name, "x").Err(); err != nil {
				return err
			}
			if count() == 0 {
				return fmt.Errorf("not subscribed")
			}
			return nil
		})
		time.Sleep(apart)
		before, sent := count(), int64(0)
		began := time.Now()
		for next := apart; sent < rate*int64(apart)*(cuts+1)/int64(time.Second); {
			due := int64(time.Since(began) * rate / time.Second)
			for ; sent < due; sent++ {
				require.NoError(t, direct.Publish(context.Background(), name, "x").Err())
			}
			if at := time.Since(began); at >= next && at < apart*(cuts+1) {
				next += apart
				link.Disconnect()
			}
			time.Sleep(time.Millisecond / 2)
		}
		time.Sleep(200 * time.Millisecond)
		return sent - (count() - before)
	}
	ours := func() int64 {
		link := tcpproxy.Start(t, srv.Addr())
		b, err := redisbroker.Open(link.Addr(), nil)
		require.NoError(t, err)
		defer b.Close(within(t, patience))
		r := new(counting)
		subscribe(t, b, r, broker.SocketIO.EveryRoom("/"))
		return lost(link, r.n.Load)
	}
	bare := func() int64 {
		link := tcpproxy.Start(t, srv.Addr())
		c := redis.NewClient(&redis.Options{Addr: link.Addr()})
		defer c.Close()
		sub := c.PSubscribe(context.Background(), "socket.io#/#*")
		defer sub.Close()
		var n atomic.Int64
		ch := sub.Channel(redis.WithChannelSize(1 << 16))
		go func() { // ends with sub
			for range ch {
				n.Add(1)
			}
		}()
		return lost(link, n.Load)
	}
	var sums [2]int64
	for turn := range 3 {
		a, b := ours(), bare()
		t.Logf("turn %d: %d cuts at %d messages a second: %d lost, go-redis alone %d", turn, cuts, rate, a, b)
		sums[0], sums[1] = sums[0]+a, sums[1]+b
	}
	require.LessOrEqual(t, sums[0], 2*sums[1]+3*cuts, "messages lost; 3 more for each cut are allowed for a busy machine")
}
