package redisbroker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// follow makes a server the replica of another, and waits until it is up to date.
func follow(t testing.TB, replica *servers.Redis, addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	replica.Do("REPLICAOF", host, port)
	eventually(t, func() error {
		if role, _ := replica.Do("ROLE").([]any); role[0] != "slave" || role[3] != "connected" {
			return fmt.Errorf("%v", role)
		}
		return nil
	})
}

// startPrimary starts a server whose replicas synchronize at once.
func startPrimary(t testing.TB) *servers.Redis {
	t.Helper()
	return servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--repl-diskless-sync-delay", "0"}})
}

// isStray reports whether an error is a *MembershipError.
func isStray(err error) bool {
	var stray *redisbroker.MembershipError
	return errors.As(err, &stray)
}

// arrives publishes until a message arrives. The connection for publishing may notice later than that for subscribing
// that its server has lost its place. What it sends meanwhile counts as sent, and no subscriber of the next server gets it.
func arrives(t testing.TB, b broker.Broker, r *recorder) {
	t.Helper()
	n := 0
	eventually(t, func() error {
		n++
		text := fmt.Sprint("attempt ", n)
		publish(t, b, room, text)
		if err := b.Flush(within(t, patience)); err != nil {
			return err
		}
		for {
			c, ok := r.NextWithin(300 * time.Millisecond)
			switch {
			case !ok:
				return fmt.Errorf("%s did not arrive", text)
			case c.Payload == text:
				return nil
			}
		}
	})
}

// TestDemotedPrimary: a primary is demoted behind a proxy that keeps the connections open. Every
// kind of connection leaves it within the probe time.
func TestDemotedPrimary(t *testing.T) {
	t.Parallel()
	old, next := startPrimary(t), startPrimary(t)
	follow(t, next, old.Addr())
	proxy := tcpproxy.Start(t, old.Addr())
	f := &fleet{t: t}
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), ClientName: "node"})
	t.Cleanup(func() { client.Close() })
	for range 3 {
		f.join(client)
	}
	f.whole()
	switchOver := func(old, next *servers.Redis) {
		proxy.Retarget(next.Addr())
		next.Do("REPLICAOF", "NO", "ONE")
		began := time.Now()
		follow(t, old, next.Addr())
		for i, r := range f.heard {
			var c = r.Next()
			for c.What == "deliver" {
				c = r.Next()
			}
			require.Equal(t, "interrupted", c.What, "broker %d", i)
			require.True(t, isStray(c.Err), "broker %d: %v, want interrupted with a *MembershipError", i, c)
			r.WantCall("resumed")
		}
		took, most := time.Since(began), quick().ProbeInterval+quick().ProbeTimeout
		assert.LessOrEqual(t, took, most, "noticed")
		f.whole()
		assert.Equal(t, "", old.Do("CLIENT", "LIST", "TYPE", "pubsub"), "subscribed to the former primary")
	}
	switchOver(old, next)
	f.join(client)
	f.whole()
	switchOver(next, old)
	for i, b := range f.nodes {
		s := b.Stats()
		assert.Equal(t, s.Sent+s.Uncertain+s.Lost, s.Accepted, "broker %d", i)
		assert.Zero(t, s.Lost, "broker %d", i)
	}
}

// TestReplica: every call refuses a server that is a replica from the start, with
// the reason.
func TestReplica(t *testing.T) {
	t.Parallel()
	primary, replica := startPrimary(t), startPrimary(t)
	follow(t, replica, primary.Addr())
	opts := quick()
	opts.QueueAge = 200 * time.Millisecond
	b := open(t, replica.Addr(), opts)
	_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
	assert.True(t, isStray(err), "Subscribe: %v", err)
	_, err = b.Subscribers(within(t, patience), room)
	assert.True(t, isStray(err), "Subscribers: %v", err)
	publish(t, b, room, "never sent")
	var loss *broker.LossError
	err = b.Flush(within(t, patience))
	require.ErrorAs(t, err, &loss)
	assert.False(t, loss.Uncertain, "Flush: %v", err)
	assert.True(t, isStray(err), "Flush: %v", err)
	assert.ErrorIs(t, err, redisbroker.ErrTooOld)
	replica.Do("REPLICAOF", "NO", "ONE")
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	eventually(t, func() error {
		publish(t, b, room, "promoted")
		return b.Flush(within(t, patience))
	})
	r.Want(room, "promoted")
}

// TestSubscribingOnReplica: SubscribeClient may lead to a replica, while that is up to date
// with its primary.
func TestSubscribingOnReplica(t *testing.T) {
	t.Parallel()
	primary, replica := startPrimary(t), startPrimary(t)
	link := tcpproxy.Start(t, primary.Addr())
	follow(t, replica, link.Addr())
	to, from := redis.NewClient(&redis.Options{Addr: primary.Addr()}), redis.NewClient(&redis.Options{Addr: replica.Addr()})
	defer to.Close()
	defer from.Close()
	opts := quick()
	opts.SubscribeClient = from
	b, err := redisbroker.New(to, opts)
	require.NoError(t, err)
	closeLater(t, b)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "by replication")
	r.Want(room, "by replication")
	counts, err := b.Subscribers(within(t, patience), room)
	require.NoError(t, err, "Subscribers: %v", counts)
	require.Equal(t, 1, counts[0], "Subscribers: %v", counts)

	link.Cut()
	c := r.WantCall("interrupted")
	require.True(t, isStray(c.Err), "Interrupted(%v), want a *MembershipError", c.Err)
	assert.ErrorContains(t, c.Err, "link")
	link.Heal()
	r.WantCall("resumed")
	publish(t, b, room, "again")
	r.Want(room, "again")

	// A promoted replica gets no messages from the former primary.
	replica.Do("REPLICAOF", "NO", "ONE")
	c = r.WantCall("interrupted")
	assert.True(t, isStray(c.Err), "Interrupted(%v) of a promoted replica", c.Err)
	r.WantCall("resumed")
}

// TestSentinelIsNoServer: a Sentinel accepts SUBSCRIBE and PUBLISH, but delivers no messages
// between clients.
func TestSentinelIsNoServer(t *testing.T) {
	t.Parallel()
	s := servers.StartSentinel(t)
	b := open(t, s.Addr(), quick())
	_, err := b.Subscribe(within(t, patience), record(t), broker.Exactly(room))
	require.True(t, isStray(err), "Subscribe: %v", err)
	assert.ErrorContains(t, err, "Sentinel", "Subscribe: %v", err)
}

// TestSentinelLosesSight: Sentinel cannot reach the master and has promoted its replica. The
// former master still calls itself a master, and keeps all of its connections.
//
// The test is not parallel: Sentinel and the examinations take seconds, and longer beside the
// other tests.
func TestSentinelLosesSight(t *testing.T) {
	s := servers.StartSentinel(t)
	sight := tcpproxy.Start(t, s.Master.Addr())
	host, port, _ := net.SplitHostPort(sight.Addr())
	sentinel := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2})
	t.Cleanup(func() { sentinel.Close() })
	do := func(args ...any) any {
		t.Helper()
		answer, err := sentinel.Do(t.Context(), args...).Result()
		require.NoError(t, err, "%v", args)
		return answer
	}
	do("SENTINEL", "REMOVE", s.Name)
	do("SENTINEL", "MONITOR", "far", host, port, 1)
	do("SENTINEL", "SET", "far", "failover-timeout", 1000)
	eventually(t, func() error {
		list, _ := do("SENTINEL", "REPLICAS", "far").([]any)
		if !strings.Contains(fmt.Sprint(list), "master-link-status ok") {
			return fmt.Errorf("replicas: %v", list)
		}
		return nil
	})
	// Clients do not reach the master by the address that Sentinel uses.
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "far", SentinelAddrs: []string{s.Addr()},
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == sight.Addr() {
				addr = s.Master.Addr()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}})
	t.Cleanup(func() { client.Close() })
	b, err := redisbroker.New(client, quick())
	require.NoError(t, err)
	closeLater(t, b)
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "at the first master")
	r.Want(room, "at the first master")
	counts, err := b.Subscribers(within(t, patience), room)
	require.NoError(t, err, "Subscribers: %v", counts)
	require.Equal(t, 1, counts[0], "Subscribers: %v", counts)
	sight.Cut()
	eventually(t, func() error {
		// Sentinel replies that a failover is in progress, or that it knows no good replica yet.
		sentinel.Do(t.Context(), "SENTINEL", "FAILOVER", "far")
		master := do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "far").([]any)
		if master[1] == port {
			return errors.New("no other master yet")
		}
		return nil
	})
	c := r.WantCall("interrupted")
	assert.True(t, isStray(c.Err), "Interrupted(%v), want a *MembershipError", c.Err)
	r.WantCall("resumed")
	role, _ := s.Master.Do("ROLE").([]any)
	require.Equal(t, "master", role[0], "the role of the former master: Sentinel reached it")
	arrives(t, b, r)
	eventually(t, func() error {
		counts, err := b.Subscribers(within(t, patience), room)
		if err == nil && counts[0] != 1 {
			err = fmt.Errorf("counted %d", counts[0])
		}
		return err
	})
	assert.Equal(t, int64(1), s.Replica.Do("PUBSUB", "NUMSUB", "socket.io#/#room#").([]any)[1], "subscribed to the next master")
}

// TestBusyConnectionsAreExamined: a steady flow of messages does not keep a connection from
// being examined, and an examination does not change the order of messages.
func TestBusyConnectionsAreExamined(t *testing.T) {
	t.Parallel()
	old, next := startPrimary(t), startPrimary(t)
	proxy := tcpproxy.Start(t, old.Addr())
	opts := quick()
	opts.ProbeInterval = 20 * time.Millisecond
	b, other := open(t, proxy.Addr(), opts), open(t, old.Addr(), quick())
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publishing := func(n int) {
		for i := range n {
			publish(t, b, room, fmt.Sprint(i))
			if i%64 == 0 {
				flush(t, b)
			}
		}
		for i := range n {
			r.Want(room, fmt.Sprint(i))
		}
	}
	asked := func() (n int) {
		stats, _ := old.Do("INFO", "commandstats").(string)
		_, after, _ := strings.Cut(stats, "cmdstat_hello:calls=")
		fmt.Sscanf(after, "%d", &n)
		return n
	}
	before := asked()
	eventually(t, func() error {
		publishing(5000)
		if n := asked() - before; n < 6 {
			return fmt.Errorf("examined %d times", n)
		}
		return nil
	})
	flush(t, b)

	// Both connections are busy throughout.
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		load := time.NewTicker(200 * time.Microsecond)
		defer load.Stop()
		for {
			select {
			case <-stop:
				return
			case <-load.C:
			}
			if b.Publish(t.Context(), room, []byte("busy")) != nil || other.Publish(t.Context(), room, []byte("busy")) != nil {
				return
			}
		}
	}()
	eventually(t, func() error {
		if b.Stats().Received < 1000 {
			return errors.New("not busy")
		}
		return nil
	})
	proxy.Retarget(next.Addr())
	follow(t, old, next.Addr())
	eventually(t, func() error {
		if n := next.Do("PUBSUB", "NUMSUB", "socket.io#/#room#").([]any)[1]; n != int64(1) {
			return fmt.Errorf("%v subscribed to the new primary", n)
		}
		return nil
	})
	close(stop)
	<-done
	arrives(t, b, r)
	assert.EqualValues(t, 1, b.Stats().Interruptions, "Stats %+v", b.Stats())
}

// TestWithoutHello: with a server that does not know HELLO, as before Redis 6, the broker speaks
// RESP2. It only checks that the server is alive.
func TestWithoutHello(t *testing.T) {
	t.Parallel()
	srv := servers.StartRedis(t, &servers.RedisOptions{Args: []string{"--rename-command", "HELLO", ""}})
	opts := quick()
	opts.ProbeInterval = 20 * time.Millisecond
	b := open(t, srv.Addr(), opts)
	r := record(t)
	subscribe(t, b, r, broker.SocketIO.EveryRoom("/"), broker.Exactly(broker.SocketIO.Requests("/")))
	pings := func() (n int) {
		stats, _ := srv.Do("INFO", "commandstats").(string)
		_, after, _ := strings.Cut(stats, "cmdstat_ping:calls=")
		fmt.Sscanf(after, "%d", &n)
		return n
	}
	for before := pings(); pings() < before+10; {
		publish(t, b, room, "one")
		flush(t, b)
		r.Want(room, "one")
	}
	counts, err := b.Subscribers(within(t, patience), broker.SocketIO.Requests("/"))
	require.NoError(t, err, "Subscribers: %v", counts)
	assert.Equal(t, 1, counts[0], "Subscribers: %v", counts)
	srv.Kill()
	r.WantCall("interrupted")
	srv.Restart()
	r.WantCall("resumed")
	eventually(t, func() error {
		publish(t, b, room, "again")
		return b.Flush(within(t, patience))
	})
	r.Want(room, "again")
}
