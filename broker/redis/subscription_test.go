package redisbroker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestSlowReceiver: what overflows a receiver's buffer is counted and reported in its place, and
// the other receivers miss nothing.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	const buffered = 100
	b := open(t, servers.StartRedis(t, nil).URL(), &redisbroker.Options{
		ReceiveBuffer: buffered * brokertest.SlowCost, SlowReceiver: 10 * time.Millisecond})
	brokertest.SlowReceiver(t, b, b, buffered)
}

// TestSlowNeighbour: a receiver that is slow, and makes room again and again, delays the others by
// little more than the stated time.
func TestSlowNeighbour(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	brokertest.SlowNeighbour(t, open(t, srv.URL(), &redisbroker.Options{ReceiveBuffer: 64 << 10}), open(t, srv.URL(), nil))
}

func TestStuckReceiver(t *testing.T) {
	t.Parallel()
	opts := &redisbroker.Options{ReceiveBuffer: 1, SlowReceiver: 10 * time.Millisecond}
	brokertest.StuckReceiver(t, open(t, servers.StartRedis(t, nil).URL(), opts))
}

func TestNoReceiver(t *testing.T) {
	t.Parallel()
	b := open(t, "localhost:1", nil)
	_, err := b.Subscribe(t.Context(), nil, broker.Exactly(room))
	require.Error(t, err, "no error")
}
