package redisbroker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
)

// hold subscribes to names on one server, as ioredis does on any node of a cluster, until
// the test ends or stop is called. heard gets the payloads.
func hold(t *testing.T, srv *servers.Redis, heard func(payload string), names ...string) (stop func()) {
	t.Helper()
	nc, err := net.Dial("tcp", srv.Addr())
	require.NoError(t, err)
	r := bufio.NewReader(nc)
	for _, name := range names {
		fmt.Fprintf(nc, "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(name), name)
		for range 6 { // *3, and the kind and the name with their lengths, and a number
			_, err := r.ReadString('\n')
			require.NoError(t, err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "{") && heard != nil {
				heard(line)
			}
		}
	}()
	stop = func() {
		nc.Close()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// clusterBroker makes a broker whose client knows two masters.
func clusterBroker(t *testing.T, c *servers.RedisCluster, opts redisbroker.Options) *redisbroker.Broker {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()[:2]})
	t.Cleanup(func() { client.Close() })
	b, err := redisbroker.New(client, &opts)
	require.NoError(t, err)
	closeLater(t, b)
	return b
}

const (
	requests = "socket.io-request#/#"
	patterns = "socket.io-response#/#"
)

// counted expects exact responses to both kinds of query.
func counted(t *testing.T, b *redisbroker.Broker, what string, want int, ids ...string) {
	t.Helper()
	require.NoError(t, countedNow(t, b, want, ids...), what)
}

func countedNow(t *testing.T, b *redisbroker.Broker, want int, ids ...string) error {
	t.Helper()
	counts, err := b.Subscribers(within(t, patience), broker.SocketIO.Requests("/"), broker.SocketIO.Requests("/else"))
	if err != nil || !slices.Equal(counts, []int{want, 0}) {
		return fmt.Errorf("Subscribers: %v, %v, want %d", counts, err, want)
	}
	got, err := b.Responders(within(t, patience), broker.SocketIO, "/")
	slices.Sort(got)
	if err != nil || !slices.Equal(got, append([]string{}, ids...)) {
		return fmt.Errorf("Responders: %q, %v, want %q", got, err, ids)
	}
	return nil
}

// inexact expects both kinds of query to return an *InexactError within the limit.
func inexact(t *testing.T, b *redisbroker.Broker, least int, limit time.Duration) {
	t.Helper()
	for range 2 {
		began := time.Now()
		counts, err := b.Subscribers(within(t, limit), broker.SocketIO.Requests("/"))
		_, ok := errors.AsType[*broker.InexactError](err)
		require.True(t, ok, "Subscribers: %v, %v", counts, err)
		require.Len(t, counts, 1, "Subscribers: %v, %v", counts, err)
		require.Equal(t, least, counts[0], "Subscribers: %v, %v", counts, err)
		ids, err := b.Responders(within(t, limit), broker.SocketIO, "/")
		_, ok = errors.AsType[*broker.InexactError](err)
		require.True(t, ok, "Responders: %v, %v", ids, err)
		require.NotNil(t, ids, "Responders: %v, %v", ids, err)
		t.Logf("inexact after %v: %v", time.Since(began), err)
	}
}

// TestCountsEveryNode counts subscribers on every kind of node of a cluster: masters,
// replicas, nodes without slots, and nodes that were added or removed, do not respond, or
// crashed.
func TestCountsEveryNode(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	replica := c.AddNode(t, c.Nodes[0])
	for name, test := range map[string]func(*testing.T, *servers.RedisCluster){"view refused": viewRefused, "servers on replicas": serversOnReplicas, "limits of every node": limitsOfEveryNode} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
	b := clusterBroker(t, c, *quick())
	own := record(t)
	subscribe(t, b, own, broker.Exactly(broker.SocketIO.Requests("/")), broker.Exactly(broker.SocketIO.NodeResponses("/", "own")))
	counted(t, b, "no other subscriber", 1, "own")
	hold(t, replica, nil, requests, patterns+"replica#")
	counted(t, b, "one on a replica", 2, "own", "replica")
	hold(t, c.Nodes[2], nil, requests, patterns+"master#")
	hold(t, c.Nodes[2], nil, requests)
	counted(t, b, "two on a master", 4, "master", "own", "replica")
	empty := c.AddNode(t, nil)
	hold(t, empty, nil, requests, patterns+"empty#")
	counted(t, b, "one on a new node without slots", 5, "empty", "master", "own", "replica")

	// A node that does not respond costs a part of the time, once.
	replica.Freeze()
	inexact(t, b, 4, 2*time.Second)
	began := time.Now()
	inexact(t, b, 4, 2*time.Second)
	assert.LessOrEqual(t, time.Since(began), 2*time.Second, "four queries without the paused node")
	replica.Thaw()
	eventually(t, func() error { return countedNow(t, b, 5, "empty", "master", "own", "replica") })

	// A crashed node has no clients as soon as the cluster agrees that it failed.
	for _, n := range []*servers.Redis{c.Nodes[0], c.Nodes[1], c.Nodes[2], empty} {
		n.Do("CONFIG", "SET", "cluster-node-timeout", "1000")
	}
	replica.Kill()
	assert.Error(t, countedNow(t, b, 4, "empty", "master", "own"), "a crashed node counts as missing until the cluster agrees that it failed")
	eventually(t, func() error { return countedNow(t, b, 4, "empty", "master", "own") })
	replica.Restart()
	hold(t, replica, nil, requests)
	eventually(t, func() error { return countedNow(t, b, 5, "empty", "master", "own") })

	// A removed node has clients that the cluster does not reach.
	gone, _ := empty.Do("CLUSTER", "MYID").(string)
	for _, n := range []*servers.Redis{c.Nodes[0], c.Nodes[1], c.Nodes[2], replica} {
		n.Do("CLUSTER", "FORGET", gone)
	}
	empty.Do("CLUSTER", "RESET", "HARD")
	counted(t, b, "without the removed one", 4, "master", "own")
}

// viewRefused: a user that may not list the nodes gets a lower bound.
func viewRefused(t *testing.T, c *servers.RedisCluster) {
	nodes := append(c.Nodes[:], c.Added...)
	for _, n := range nodes {
		n.Do("ACL", "SETUSER", "node", "on", ">n", "~*", "&*", "+@all", "-cluster|nodes")
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Username: "node", Password: "n"})
	defer client.Close()
	b, err := redisbroker.New(client, quick())
	require.NoError(t, err)
	closeLater(t, b)
	defer hold(t, c.Nodes[0], nil, requests)()
	inexact(t, b, 1, patience)
	for _, n := range nodes {
		n.Do("ACL", "SETUSER", "node", "+cluster|nodes", "-cluster|myid")
	}
	counted(t, b, "without MYID", 1)
}

// nodeServer is the part of a Node.js server that responds to fetchSockets, on one Redis server.
func nodeServer(t *testing.T, srv *servers.Redis, prefix string, publish func(channel, payload string), id string) {
	t.Helper()
	hold(t, srv, func(payload string) {
		var r struct {
			UID       string `json:"uid"`
			RequestID string `json:"requestId"`
		}
		if err := json.Unmarshal([]byte(payload), &r); err != nil {
			t.Errorf("%s got %s: %v", id, payload, err)
			return
		}
		answer, _ := json.Marshal(map[string]any{"requestId": r.RequestID, "sockets": []any{
			map[string]any{"id": id, "rooms": []string{id}, "handshake": map[string]any{}, "data": nil},
		}})
		publish(prefix+"-response#/#"+r.UID+"#", string(answer))
	}, prefix+"-request#/#", prefix+"-response#/#"+id+"#")
}

// fetch expects all sockets of servers on several Redis servers, and no error.
func fetch(t *testing.T, ns *adapter.Namespace, want ...string) {
	t.Helper()
	sockets, err := ns.All().FetchSockets(within(t, patience))
	var ids []string
	if sockets != nil {
		for _, s := range sockets.List {
			ids = append(ids, s.ID)
		}
	}
	require.NoError(t, err)
	assert.ElementsMatch(t, want, ids, "FetchSockets")
}

// serversOnReplicas: queries wait for servers whose connections lead to replicas.
func serversOnReplicas(t *testing.T, c *servers.RedisCluster) {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	defer client.Close()
	publish := func(channel, payload string) { client.Publish(context.Background(), channel, payload) }
	all := crowd(t, 2, func() *redisbroker.Broker { return clusterBroker(t, c, redisbroker.Options{Prefix: "crowd"}) })
	want := []string{"socket0", "socket1"}
	for i, srv := range []*servers.Redis{c.Added[0], c.Added[0], c.Nodes[2]} {
		id := fmt.Sprint("node", i)
		nodeServer(t, srv, "crowd", publish, id)
		want = append(want, id)
		slices.Sort(want)
		fetch(t, all[0], want...)
		fetch(t, all[1], want...)
	}
}

// TestCountsReplicasOfASingleServer: a primary passes messages on to its replicas, and these
// to theirs, so their subscribers are counted too.
func TestCountsReplicasOfASingleServer(t *testing.T) {
	t.Parallel()
	delay := []string{"--repl-diskless-sync-delay", "0"}
	primary := servers.StartRedis(t, &servers.RedisOptions{Args: delay})
	follow := func(of *servers.Redis) *servers.Redis {
		host, port, _ := net.SplitHostPort(of.Addr())
		r := servers.StartRedis(t, &servers.RedisOptions{Args: append([]string{"--replicaof", host + " " + port}, delay...)})
		eventually(t, func() error {
			if info, _ := r.Do("INFO", "replication").(string); !strings.Contains(info, "master_link_status:up") {
				return errors.New(info)
			}
			return nil
		})
		return r
	}
	replica := follow(primary)
	second := follow(replica)
	all := crowd(t, 2, func() *redisbroker.Broker { return open(t, primary.URL(), nil) })
	fetch(t, all[0], "socket0", "socket1")
	client := redis.NewClient(&redis.Options{Addr: primary.Addr()})
	defer client.Close()
	publish := func(channel, payload string) { client.Publish(context.Background(), channel, payload) }
	nodeServer(t, replica, "socket.io", publish, "node0")
	fetch(t, all[0], "node0", "socket0", "socket1")
	nodeServer(t, second, "socket.io", publish, "node1")
	nodeServer(t, primary, "socket.io", publish, "node2")
	fetch(t, all[1], "node0", "node1", "node2", "socket0", "socket1")

	b := open(t, primary.URL(), quick())
	require.NoError(t, countOf(t, b, 5))
	second.Freeze()
	if counts, err := b.Subscribers(within(t, time.Second), broker.SocketIO.Requests("/")); !isInexact(err) || counts[0] != 4 {
		t.Errorf("with a replica that does not respond: %v, %v", counts, err)
	}
	second.Thaw()
	eventually(t, func() error { return countOf(t, b, 5) })
	second.Kill() // its primary notices at once
	eventually(t, func() error { return countOf(t, b, 4) })

	// A user that may not list replicas counts the primary's clients.
	primary.Do("ACL", "SETUSER", "node", "on", ">n", "~*", "&*", "+@all", "-info")
	user := redis.NewClient(&redis.Options{Addr: primary.Addr(), Username: "node", Password: "n"})
	defer user.Close()
	blind, err := redisbroker.New(user, quick())
	require.NoError(t, err)
	closeLater(t, blind)
	assert.NoError(t, countOf(t, blind, 3))

	// With a dialer that always connects to the primary, each client counts once.
	fixed := redis.NewClient(&redis.Options{Addr: "elsewhere:1", Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", primary.Addr())
	}})
	defer fixed.Close()
	tunnel, err := redisbroker.New(fixed, quick())
	require.NoError(t, err)
	closeLater(t, tunnel)
	for range 2 {
		assert.NoError(t, countOf(t, tunnel, 3))
	}
}

func countOf(t *testing.T, b *redisbroker.Broker, want int) error {
	t.Helper()
	counts, err := b.Subscribers(within(t, patience), broker.SocketIO.Requests("/"))
	if err != nil || counts[0] != want {
		return fmt.Errorf("Subscribers: %v, %v, want %d", counts, err, want)
	}
	return nil
}

func isInexact(err error) bool {
	_, ok := errors.AsType[*broker.InexactError](err)
	return ok
}

// TestCountsReplicasBySentinel: the client's own dialer connects only to the master.
func TestCountsReplicasBySentinel(t *testing.T) {
	t.Parallel()
	s := servers.StartSentinel(t)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: s.Name, SentinelAddrs: []string{s.Addr()}})
	defer client.Close()
	b, err := redisbroker.New(client, quick())
	require.NoError(t, err)
	closeLater(t, b)
	subscribe(t, b, record(t), broker.Exactly(broker.SocketIO.Requests("/")))
	hold(t, s.Replica, nil, requests)
	require.NoError(t, countOf(t, b, 2))
	s.Master.Kill() // Sentinel disconnects the clients of the replica that it promotes
	eventually(t, func() error { return countOf(t, b, 1) })
}

// slowConn delays each write.
type slowConn struct{ net.Conn }

func (c slowConn) Write(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return c.Conn.Write(p)
}

// Many counts at once, which each server makes one after the other, are no reason to think that a server does not
// respond.
func TestManyCounts(t *testing.T) {
	t.Parallel()
	c := servers.StartRedisCluster(t)
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.Addrs()[:2],
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, addr)
			return slowConn{nc}, err
		},
	})
	t.Cleanup(func() { client.Close() })
	opts := quick()
	opts.ProbeTimeout = 250 * time.Millisecond
	b, err := redisbroker.New(client, opts)
	require.NoError(t, err)
	closeLater(t, b)
	require.NoError(t, countOf(t, b, 0))
	var failed atomic.Int32
	var counts sync.WaitGroup
	for range 200 { // more than a second
		counts.Go(func() {
			if err := countOf(t, b, 0); err != nil && failed.Add(1) == 1 {
				t.Error(err)
			}
		})
	}
	counts.Wait()
	assert.Zero(t, failed.Load(), "of 200 counts")
}
