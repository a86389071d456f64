package redisbroker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// TestUnsubscribePermissionRevoked: the server refuses to unsubscribe. Remove and Close succeed,
// no subscription is interrupted, nothing is delivered for the removed filters, and a
// filter that is added again delivers each message once.
func TestUnsubscribePermissionRevoked(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"node on >pw ~* &* +@all"}})
	from := open(t, srv.Addr(), quick())
	every, z := broker.SocketIO.EveryRoom("/z"), broker.SocketIO.Room("/z", "r")
	var log brokertest.Log
	opts := quick()
	opts.Logger = log.Logger()
	b := open(t, "redis://node:pw@"+srv.Addr(), opts)
	r, other, closed := record(t), record(t), record(t)
	sub := subscribe(t, b, r, broker.Exactly(room), every, broker.Exactly(marker))
	subscribe(t, b, other, broker.Exactly(marker), broker.Exactly(z))
	shut := subscribe(t, b, closed, broker.Exactly(broker.SocketIO.Room("/y", "1")), broker.SocketIO.EveryRoom("/y"))

	for range 2 {
		srv.Do("ACL", "SETUSER", "node", "-unsubscribe", "-punsubscribe")
		assert.NoError(t, sub.Remove(within(t, patience), broker.Exactly(room), every))
		assert.NoError(t, shut.Close(within(t, patience)))
		publish(t, from, room, "removed")
		publish(t, from, z, "for the other")
		publish(t, from, marker, "end")
		r.Want(marker, "end")
		other.Want(z, "for the other")
		other.Want(marker, "end")

		// Messages arrive while the filters are added again.
		const n = 200
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range n {
				publish(t, from, z, fmt.Sprint(i))
			}
		}()
		assert.NoError(t, sub.Add(within(t, patience), broker.Exactly(room), every))
		<-sent
		for i := range n {
			other.Want(z, fmt.Sprint(i))
		}
		publish(t, from, room, "again")
		for c := r.Next(); c.Payload != "again"; c = r.Next() {
			require.Equal(t, "deliver", c.What, "%v", c)
		}
		srv.Do("ACL", "SETUSER", "node", "+unsubscribe", "+punsubscribe")
	}
	closed.WantNothing()
	assert.Equal(t, 1, strings.Count(log.String(), "UNSUBSCRIBE"), "lines about the refusal:\n%s", log.String())
}

// TestUnsubscribeRefusedForFilterAddedAgain: the refusal comes while the filters are being
// added again. The server has them, so Add succeeds.
func TestUnsubscribeRefusedForFilterAddedAgain(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Users: []string{"node on >pw ~* &* +@all -unsubscribe -punsubscribe"}})
	link := tcpproxy.Start(t, srv.Addr())
	b := open(t, "redis://node:pw@"+link.Addr(), quick())
	r, z := record(t), broker.SocketIO.Room("/z", "r")
	filters := []broker.Filter{broker.Exactly(room), broker.SocketIO.EveryRoom("/z")}
	sub := subscribe(t, b, r, filters...)
	for range 3 {
		link.HalfOpen()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		assert.ErrorIs(t, sub.Remove(short, filters...), context.DeadlineExceeded, "Remove over a held link")
		cancel()
		added := make(chan error)
		go func() { added <- sub.Add(within(t, patience), filters...) }()
		link.Heal()
		assert.NoError(t, <-added)
		publish(t, b, room, "a")
		publish(t, b, z, "b")
		r.Want(room, "a")
		r.Want(z, "b")
	}
	r.WantNothing()
}
