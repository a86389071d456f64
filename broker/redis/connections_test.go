package redisbroker_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// clients counts the server's connections with a client name.
func clients(srv *servers.Redis, name string) int {
	list, _ := srv.Do("CLIENT", "LIST").(string)
	return strings.Count(list, " name="+name+" ")
}

// wantClients waits until the server has n connections with a client name.
func wantClients(t testing.TB, srv *servers.Redis, name string, n int) {
	t.Helper()
	eventually(t, func() error {
		if got := clients(srv, name); got != n {
			return fmt.Errorf("%d connections, want %d", got, n)
		}
		return nil
	})
}

// TestNoFiltersNoConnection: without filters the broker has no connection for subscribing, and its
// absence is not an interruption.
func TestNoFiltersNoConnection(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), ClientName: "ears"})
	defer client.Close()
	b, err := redisbroker.New(client, quick())
	require.NoError(t, err)
	closeLater(t, b)
	r := record(t)
	for range 3 {
		sub := subscribe(t, b, r, broker.Exactly(room))
		require.NotZero(t, clients(srv, "ears"), "no connection")
		require.NoError(t, sub.Close(within(t, patience)))
		wantClients(t, srv, "ears", 0)
	}
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "again")
	r.Want(room, "again")
	s := b.Stats()
	require.Zero(t, s.Interruptions, "Stats %+v", s)
}

// TestMasterLeaves: queries open a connection to each master of a cluster, and keep
// none to a server that is not a master any more.
func TestMasterLeaves(t *testing.T) {
	t.Parallel()
	stays, leaves := servers.StartRedis(t, nil), servers.StartRedis(t, nil)
	var left atomic.Bool
	client := redis.NewClusterClient(&redis.ClusterOptions{
		ClientName: "asker",
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			slot := func(from, to int, srv *servers.Redis) redis.ClusterSlot {
				return redis.ClusterSlot{Start: from, End: to, Nodes: []redis.ClusterNode{{Addr: srv.Addr()}}}
			}
			if left.Load() {
				return []redis.ClusterSlot{slot(0, 16383, stays)}, nil
			}
			return []redis.ClusterSlot{slot(0, 8191, stays), slot(8192, 16383, leaves)}, nil
		},
	})
	defer client.Close()
	b, err := redisbroker.New(client, quick())
	require.NoError(t, err)
	closeLater(t, b)
	ask := func() {
		_, err := b.Subscribers(within(t, patience), room)
		require.NoError(t, err)
	}
	ask()
	require.Equal(t, 1, clients(stays, "asker"), "connections")
	require.Equal(t, 1, clients(leaves, "asker"), "connections")
	left.Store(true)
	client.ReloadState(t.Context())
	eventually(t, func() error {
		ask()
		if n := clients(leaves, "asker"); n > 0 {
			return fmt.Errorf("%d connections to the former master", n)
		}
		return nil
	})
	wantClients(t, stays, "asker", 1)
}

// TestOutagesOfAStuckReceiver: the calls that wait for a receiver that does not return do not
// grow with the number of outages.
func TestOutagesOfAStuckReceiver(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	proxy := tcpproxy.Start(t, srv.Addr())
	b, sender := open(t, proxy.Addr(), quick()), open(t, srv.Addr(), nil)
	g, free := newGate(t), record(t)
	stuck := subscribe(t, b, g, broker.Exactly(room), broker.Exactly(marker))
	subscribe(t, b, free, broker.Exactly(room), broker.Exactly(marker))
	outage := func() {
		proxy.Disconnect()
		free.WantCall("interrupted")
		proxy.Heal()
		free.WantCall("resumed")
	}
	publish(t, sender, room, "first")
	<-g.Entered
	free.Want(room, "first")
	const outages = 20
	for range outages {
		outage()
	}
	// While a message waits between two gaps, they are not merged.
	publish(t, sender, marker, "between")
	free.Want(marker, "between")
	outage()
	require.NoError(t, stuck.Remove(within(t, patience), broker.Exactly(marker)))
	publish(t, sender, room, "last")
	close(g.Open)
	g.Want(room, "first")
	g.WantCall("interrupted")
	g.WantCall("resumed")
	g.Want(room, "last")
	assert.EqualValues(t, outages+1+1, b.Stats().Interruptions, "interruptions: %d of one subscription and one of the other", outages+1)
}

// TestLogOfAnOutage: the log has a line for the beginning and the end of an outage,
// and none for each attempt between them.
func TestLogOfAnOutage(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	var attempts atomic.Int32
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		attempts.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	defer client.Close()
	var log brokertest.Log
	opts := quick()
	opts.Logger = log.Logger()
	b, err := redisbroker.New(client, opts)
	require.NoError(t, err)
	closeLater(t, b)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	for range 2 {
		srv.Kill()
		r.WantCall("interrupted")
		before := attempts.Load()
		eventually(t, func() error {
			if n := attempts.Load() - before; n <= 5 {
				return fmt.Errorf("only %d attempts", n)
			}
			return nil
		})
		srv.Restart()
		r.WantCall("resumed")
	}
	text := log.String()
	lost, back := strings.Count(text, "not subscribed"), strings.Count(text, "connected for subscribing")
	assert.Equal(t, 2, lost, "%d lines for 2 outages, %d for 3 connections:\n%s", lost, back, text)
	assert.Equal(t, 3, back, "%d lines for 2 outages, %d for 3 connections:\n%s", lost, back, text)
}

// TestIdleConnections: idle connections are examined in every interval, and
// kept.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, nil)
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), ClientName: "quiet"})
	defer client.Close()
	var log brokertest.Log
	b, err := redisbroker.New(client, &redisbroker.Options{
		ProbeInterval: 20 * time.Millisecond, ProbeTimeout: 500 * time.Millisecond,
		Logger: log.Logger(),
	})
	require.NoError(t, err)
	closeLater(t, b)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "one")
	r.Want(room, "one")
	examined := func() (n int) {
		stats, _ := srv.Do("INFO", "commandstats").(string)
		_, after, _ := strings.Cut(stats, "cmdstat_hello:calls=")
		fmt.Sscanf(after, "%d", &n)
		return n
	}
	// Four for each of the two connections: more than the examinations before a connection whose
	// server does not reply is closed.
	before := examined()
	eventually(t, func() error {
		if n := examined() - before; n < 8 {
			return fmt.Errorf("examined only %d times", n)
		}
		return nil
	})
	publish(t, b, room, "two")
	r.Want(room, "two")
	assert.NotContains(t, log.String(), "WARN", "Stats %+v", b.Stats())
	assert.Zero(t, b.Stats().Interruptions, "Stats %+v", b.Stats())
}
