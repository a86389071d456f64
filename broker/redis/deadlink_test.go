package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// oneByProxy makes a broker with the default times. Only the connection with the given number
// goes through a proxy.
func oneByProxy(t *testing.T, srv *servers.Redis, number int32, log *brokertest.Log) (*redisbroker.Broker, *tcpproxy.Proxy) {
	t.Helper()
	proxy := tcpproxy.Start(t, srv.Addr())
	var dialed atomic.Int32
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialed.Add(1) == number {
			addr = proxy.Addr()
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	t.Cleanup(func() { client.Close() })
	b, err := redisbroker.New(client, &redisbroker.Options{Logger: log.Logger()})
	require.NoError(t, err)
	closeLater(t, b)
	return b, proxy
}

// TestDeadLinkOfQueries: only the connection for queries is dead. The next query takes
// a fraction of its deadline.
func TestDeadLinkOfQueries(t *testing.T) {
	t.Parallel()
	for _, deadline := range []time.Duration{5 * time.Second, time.Second, 400 * time.Millisecond} {
		t.Run(deadline.String(), func(t *testing.T) {
			t.Parallel()
			srv := servers.StartRedis(t, nil)
			var log brokertest.Log
			b, proxy := oneByProxy(t, srv, 2, &log)
			r := record(t)
			subscribe(t, b, r, broker.Exactly(room))
			_, err := b.Subscribers(within(t, patience), room)
			require.NoError(t, err)
			require.Equal(t, 1, proxy.Accepted(), "the connection for queries does not go through the proxy")
			proxy.HalfOpen()
			for _, most := range []time.Duration{deadline * 3 / 4, deadline / 2} {
				began := time.Now()
				counts, err := b.Subscribers(within(t, deadline), room)
				took := time.Since(began)
				if assert.NoError(t, err, "Subscribers: %v after %v of %v", counts, took, deadline) {
					assert.Equal(t, 1, counts[0], "Subscribers: %v after %v of %v", counts, took, deadline)
					assert.LessOrEqual(t, took, most, "Subscribers: %v after %v of %v", counts, took, deadline)
				}
			}
			r.WantNothing()
		})
	}
}

// TestDeadLinkOfPublishing: only the connection for publishing is dead. The broker notices that
// within the probe time. Messages published after that arrive.
func TestDeadLinkOfPublishing(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	var log brokertest.Log
	b, proxy := oneByProxy(t, srv, 2, &log)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "before")
	r.Want(room, "before")
	flush(t, b)
	require.Equal(t, 1, proxy.Accepted(), "the connection for publishing does not go through the proxy")
	proxy.HalfOpen()
	began := time.Now()
	eventually(t, func() error {
		if !strings.Contains(log.String(), "publish connection lost") {
			return errors.New("not noticed")
		}
		return nil
	})
	assert.LessOrEqual(t, time.Since(began), 5*time.Second, "noticed")
	began = time.Now()
	publish(t, b, room, "after")
	flush(t, b)
	r.Want(room, "after")
	assert.LessOrEqual(t, time.Since(began), time.Second, "sent")
	s := b.Stats()
	assert.Zero(t, s.Uncertain+s.Lost, "Stats %+v", s)
}

// TestHealthWhilePublishingFails: only publishing fails, and subscriptions go on. Health of a node reports that.
func TestHealthWhilePublishingFails(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(srv *servers.Redis, proxy *tcpproxy.Proxy) (end func()){
		"half-open": func(_ *servers.Redis, proxy *tcpproxy.Proxy) func() {
			proxy.HalfOpen()
			return func() {} // the broker connects again
		},
		"refused": func(srv *servers.Redis, _ *tcpproxy.Proxy) func() {
			srv.Do("ACL", "SETUSER", "default", "-publish")
			return func() { srv.Do("ACL", "SETUSER", "default", "+publish") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := servers.StartRedis(t, nil)
			var log brokertest.Log
			b, proxy := oneByProxy(t, srv, 2, &log)
			publish(t, b, room, "opens the connection for publishing")
			node, err := backplane.New(b, &backplane.Options{
				Heartbeat: 100 * time.Millisecond, PeerTimeout: time.Second, OnError: func(error) {},
			})
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, node.Close(within(t, patience))) })
			_, err = node.Namespace(within(t, patience), "health", nil)
			require.NoError(t, err)
			require.NoError(t, node.Ready(within(t, patience)))
			end := fault(srv, proxy)
			eventually(t, func() error {
				if h := node.Health(); h.Publishing.Up || h.Ready {
					return fmt.Errorf("Health: %+v", h)
				}
				return nil
			})
			end()
			require.NoError(t, node.Ready(within(t, patience)))
		})
	}
}
