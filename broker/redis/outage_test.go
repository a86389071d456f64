package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

var (
	room   = broker.SocketIO.Room("/", "room")
	marker = broker.SocketIO.Room("/", "marker")
)

func TestOutages(t *testing.T) {
	t.Parallel()
	opts := quick()
	brokertest.Outages(t, &brokertest.Kind{
		Protocol: broker.SocketIO,
		Start:    func(t testing.TB) brokertest.Server { return servers.StartRedis(t, nil) },
		Open:     func(t testing.TB, addr string) broker.Broker { return open(t, addr, opts) },
		Notices:  opts.ProbeInterval + opts.ProbeTimeout,
		Silent: func(err error) bool {
			var late *broker.TimeoutError
			return errors.As(err, &late) && late.Timeout()
		},
		// One message may be written before the broker notices that the publish connection is closed.
		InDoubt: 1,
	})
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Password: "right"})
	for _, url := range []string{"redis://default:wrong@" + srv.Addr(), "redis://" + srv.Addr()} {
		opts := quick()
		opts.QueueAge = 200 * time.Millisecond
		brokertest.WrongPassword(t, open(t, url, opts), func(err error) bool {
			var refused *redisbroker.ServerError
			return errors.As(err, &refused) && (refused.Code() == "WRONGPASS" || refused.Code() == "NOAUTH") && !strings.Contains(err.Error(), "wrong@")
		}, redisbroker.ErrTooOld)
	}
}

// TestCloseSaysWhyItCouldNotSend: an emitter does not subscribe, so Close may be the first call that returns the refusal.
func TestCloseSaysWhyItCouldNotSend(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Password: "right"})
	var log brokertest.Log
	opts := quick()
	opts.Logger = log.Logger()
	b, err := redisbroker.Open("redis://"+srv.Addr(), opts)
	require.NoError(t, err)
	losses := watchLosses(t, b)
	publish(t, b, room, "never sent")
	eventually(t, func() error {
		if text := log.String(); !strings.Contains(text, "cannot publish") {
			return fmt.Errorf("no refusal in the log: %s", text)
		}
		return nil
	})
	err = b.Close(within(t, 20*time.Millisecond))
	var loss *broker.LossError
	var refused *redisbroker.ServerError
	require.ErrorAs(t, err, &loss)
	require.Equal(t, 1, loss.Messages)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorAs(t, err, &refused)
	<-losses.Came
}

func TestAccessControl(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{
		"node on >pw resetchannels &socket.io#/chat#* -@all +publish +subscribe +psubscribe +unsubscribe +punsubscribe",
	}})
	b := open(t, "redis://node:pw@"+srv.Addr(), quick())
	commands := map[string]string{"EveryRoom": "PSUBSCRIBE", "Exactly": "SUBSCRIBE", "Publish": "PUBLISH"}
	brokertest.Permissions(t, b, broker.SocketIO, func(err error, what string) bool {
		var refused *redisbroker.ServerError
		return errors.As(err, &refused) && refused.Code() == "NOPERM" && refused.Command == commands[what]
	})
	got := srv.Do("PUBSUB", "CHANNELS", "*")
	require.Len(t, got.([]any), 1, "the server has channels %v", got)
}

// TestOutputBufferLimit: because of a slow receiver the server closes the
// connection. The receiver gets Interrupted at that point of the sequence.
func TestOutputBufferLimit(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--client-output-buffer-limit", "pubsub 1mb 1mb 1"}})
	opts := quick()
	opts.ReceiveBuffer = 64 << 10
	slow, sender := open(t, srv.Addr(), opts), open(t, srv.Addr(), nil)
	g := newGate(t)
	subscribe(t, slow, g, broker.Exactly(room))
	text := strings.Repeat("x", 256<<10)
	n := 0
	for ; srv.Do("CLIENT", "LIST", "TYPE", "pubsub") != ""; n++ {
		require.LessOrEqual(t, n, 1000, "the server does not close the connection")
		publish(t, sender, room, text)
		flush(t, sender)
	}
	close(g.Open)
	delivered := 0
	for {
		c := g.Next()
		if c.What == "interrupted" {
			break
		}
		require.Equal(t, text, c.Payload)
		delivered++
	}
	require.NotZero(t, delivered)
	require.Less(t, delivered, n)
	g.WantCall("resumed")
	publish(t, sender, room, "after")
	g.Want(room, "after")
}
