package redisbroker_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestSlowReceiver: a stuck receiver delays no other receiver while its buffer has room. When the
// buffer is full the others wait, and no message is missing afterwards.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	const buffered = 100
	b := open(t, srv.URL(), &redisbroker.Options{ReceiveBuffer: buffered * (128 + len("message 000"))})
	g, free := newGate(t), record(t)
	subscribe(t, b, g, broker.SocketIO.EveryRoom("/"))
	subscribe(t, b, free, broker.SocketIO.EveryRoom("/"))
	text := func(i int) string { return fmt.Sprintf("message %03d", i) }
	publish(t, b, room, text(0))
	<-g.Entered
	for i := 1; i <= buffered; i++ {
		publish(t, b, room, text(i))
	}
	for i := range buffered + 1 {
		free.Want(room, text(i))
	}
	for i := range 50 {
		publish(t, b, room, text(buffered+1+i))
	}
	flush(t, b)
	close(g.Open)
	for i := range buffered + 51 {
		g.Want(room, text(i))
	}
	for i := range 50 {
		free.Want(room, text(buffered+1+i))
	}
	s := b.Stats()
	require.Zero(t, s.Interruptions, "Stats %+v", s)
}

func TestStuckReceiver(t *testing.T) {
	t.Parallel()
	brokertest.StuckReceiver(t, open(t, servers.StartRedis(t, nil).URL(), &redisbroker.Options{ReceiveBuffer: 1}))
}

func TestNoReceiver(t *testing.T) {
	t.Parallel()
	b := open(t, "localhost:1", nil)
	_, err := b.Subscribe(t.Context(), nil, broker.Exactly(room))
	require.Error(t, err, "no error")
}
