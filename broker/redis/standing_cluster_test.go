package redisbroker_test

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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

// bigCluster is a Redis Cluster with any number of masters. Nodes can be added.
type bigCluster struct {
	t     testing.TB
	nodes []*servers.Redis
}

const clusterSlots = 16384

// startCluster starts n masters. The last one has few slots, which can be moved quickly.
func startCluster(t testing.TB, n int) *bigCluster {
	t.Helper()
	c := &bigCluster{t: t}
	for range n {
		c.nodes = append(c.nodes, startClusterNode(t))
	}
	for i, node := range c.nodes {
		from, to := c.slots(i)
		node.Do("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(from), fmt.Sprint(to))
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		c.meet(node)
	}
	c.wait()
	return c
}

const fewSlots = 4

func (c *bigCluster) slots(i int) (from, to int) {
	last := len(c.nodes) - 1
	if i == last {
		return clusterSlots - fewSlots, clusterSlots - 1
	}
	per := (clusterSlots - fewSlots) / last
	from, to = i*per, (i+1)*per-1
	if i == last-1 {
		to = clusterSlots - fewSlots - 1
	}
	return from, to
}

func startClusterNode(t testing.TB) *servers.Redis {
	t.Helper()
	return servers.StartRedis(t, &servers.RedisOptions{Args: []string{
		"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(servers.FreePort(t)), "--cluster-require-full-coverage", "no",
		"--cluster-node-timeout", "5000", "--repl-diskless-sync-delay", "0",
	}})
}

// line returns a node's own line in CLUSTER NODES.
func line(node *servers.Redis) []string {
	text, _ := node.Do("CLUSTER", "NODES").(string)
	for l := range strings.Lines(text) {
		if f := strings.Fields(l); strings.Contains(f[2], "myself") {
			return f
		}
	}
	return make([]string, 8)
}

func id(node *servers.Redis) string { return line(node)[0] }

func (c *bigCluster) meet(node *servers.Redis) {
	host, port, _ := net.SplitHostPort(c.nodes[0].Addr())
	_, bus, _ := strings.Cut(line(c.nodes[0])[1], "@")
	bus, _, _ = strings.Cut(bus, ",")
	if node != c.nodes[0] {
		node.Do("CLUSTER", "MEET", host, port, bus)
	}
}

// wait waits until all nodes know each other, with links both ways.
func (c *bigCluster) wait() {
	c.t.Helper()
	eventually(c.t, func() error {
		for _, n := range c.nodes {
			info, _ := n.Do("CLUSTER", "INFO").(string)
			links, _ := n.Do("CLUSTER", "LINKS").([]any)
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", len(c.nodes))) || len(links) < 2*(len(c.nodes)-1) {
				return fmt.Errorf("%s: %d links, %s", n.Addr(), len(links), info)
			}
		}
		return nil
	})
}

// replicate adds a replica for each node.
func (c *bigCluster) replicate() (replicas []*servers.Redis) {
	c.t.Helper()
	masters := slices.Clone(c.nodes)
	for range masters {
		r := startClusterNode(c.t)
		c.meet(r)
		c.nodes = append(c.nodes, r)
		replicas = append(replicas, r)
	}
	c.wait()
	for i, r := range replicas {
		master := id(masters[i])
		eventually(c.t, func() error {
			if reply := r.Do("CLUSTER", "REPLICATE", master); reply != "OK" {
				return fmt.Errorf("%v", reply)
			}
			return nil
		})
	}
	for _, r := range replicas {
		eventually(c.t, func() error {
			if role, _ := r.Do("ROLE").([]any); role[0] != "slave" || role[3] != "connected" {
				return fmt.Errorf("%v", role)
			}
			return nil
		})
	}
	// The masters vote only for a node that they know as a replica.
	for _, n := range c.nodes {
		eventually(c.t, func() error {
			text, _ := n.Do("CLUSTER", "NODES").(string)
			if got := strings.Count(text, "slave "); got != len(replicas) {
				return fmt.Errorf("%s knows %d replicas", n.Addr(), got)
			}
			return nil
		})
	}
	return replicas
}

// empty moves all slots of the last node to the first.
func (c *bigCluster) empty() {
	from, to := c.slots(len(c.nodes) - 1)
	target := id(c.nodes[0])
	for slot := from; slot <= to; slot++ {
		for _, n := range c.nodes {
			n.Do("CLUSTER", "SETSLOT", fmt.Sprint(slot), "NODE", target)
		}
	}
}

// client makes a client for the cluster.
func (c *bigCluster) client(name string) *redis.ClusterClient {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.Addr())
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ClientName: name})
	c.t.Cleanup(func() { client.Close() })
	return client
}

// fleet is a set of brokers with the same filters.
type fleet struct {
	t     testing.TB
	nodes []*redisbroker.Broker
	heard []*recorder
	sent  int
}

func (f *fleet) join(client redis.UniversalClient) {
	f.t.Helper()
	b, err := redisbroker.New(client, quick())
	require.NoError(f.t, err)
	closeLater(f.t, b)
	r := record(f.t)
	subscribe(f.t, b, r, broker.SocketIO.EveryRoom("/"), broker.Exactly(broker.SocketIO.Requests("/")))
	f.nodes, f.heard = append(f.nodes, b), append(f.heard, r)
}

// whole waits until every broker gets the messages of every broker, and counts all of them.
func (f *fleet) whole() {
	f.t.Helper()
	eventually(f.t, f.once)
}

func (f *fleet) once() error {
	f.sent++
	for i, b := range f.nodes {
		publish(f.t, b, room, fmt.Sprintf("%d from %d", f.sent, i))
	}
	for _, b := range f.nodes {
		var loss *broker.LossError
		if err := b.Flush(within(f.t, patience)); err != nil && !errors.As(err, &loss) {
			return err
		}
	}
	for i, r := range f.heard {
		missing := map[string]bool{}
		for j := range f.nodes {
			missing[fmt.Sprintf("%d from %d", f.sent, j)] = true
		}
		for len(missing) > 0 {
			c, ok := r.NextWithin(300 * time.Millisecond)
			if !ok {
				return fmt.Errorf("%d misses %v", i, missing)
			}
			delete(missing, c.Payload)
		}
	}
	for i, b := range f.nodes {
		counts, err := b.Subscribers(within(f.t, patience), broker.SocketIO.Requests("/"))
		if err != nil || counts[0] != len(f.nodes) {
			return fmt.Errorf("%d counts %v of %d, %v", i, counts, len(f.nodes), err)
		}
	}
	return nil
}

// TestClusterFailover: after a regular failover, brokers leave the former master,
// although it is healthy and keeps their connections open.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	replicas := c.replicate()
	masters := c.nodes[:3]
	f := &fleet{t: t}
	for range 4 {
		f.join(c.client("before"))
	}
	f.whole()
	app := func() *redisbroker.Broker {
		opts := quick()
		opts.Prefix = "app"
		b, err := redisbroker.New(c.client("before"), opts)
		require.NoError(t, err)
		closeLater(t, b)
		return b
	}
	nodes := crowd(t, 3, app)
	for _, r := range replicas {
		failover(t, r)
	}
	for _, m := range masters {
		eventually(t, func() error {
			if n := clients(m, "before") - idle(m, "before"); n != 0 {
				return fmt.Errorf("%d connections to a former master", n)
			}
			return nil
		})
	}
	f.whole()
	for range 2 {
		f.join(c.client("afterwards"))
	}
	f.whole()
	// All servers respond to requests, including those that start now.
	for round := range 2 {
		for i, ns := range nodes {
			eventually(t, func() error {
				count, err := ns.ServerCount(within(t, patience))
				if err != nil || count != len(nodes) {
					return fmt.Errorf("server %d counts %d of %d, %v", i, count, len(nodes), err)
				}
				sockets, err := ns.All().FetchSockets(within(t, patience))
				if err != nil || len(sockets.List) != 3 {
					return fmt.Errorf("server %d fetches %+v, %v", i, sockets, err)
				}
				return ns.Join(within(t, patience), fmt.Sprint("socket", (i+1)%3), "room")
			})
		}
		if round == 0 {
			s, err := adapter.New(app(), nil)
			require.NoError(t, err)
			endLater(t, s)
			ns, err := s.Of(within(t, patience), "/")
			require.NoError(t, err)
			nodes = append(nodes, ns)
		}
	}
	for i, b := range f.nodes[:4] {
		// A broker that moves to a master that fails over later moves again.
		s := b.Stats()
		assert.GreaterOrEqual(t, s.Interruptions, uint64(1), "broker %d: interruptions", i)
		assert.LessOrEqual(t, s.Interruptions, uint64(3), "broker %d: interruptions", i)
	}
}

// failover promotes a replica.
func failover(t testing.TB, replica *servers.Redis) {
	t.Helper()
	var asked time.Time
	eventually(t, func() error {
		role, _ := replica.Do("ROLE").([]any)
		switch {
		case role[0] == "master":
			return nil
		case time.Since(asked) > 5*time.Second: // a failover is abandoned after 5 s
			asked = time.Now()
			replica.Do("CLUSTER", "FAILOVER")
		}
		return fmt.Errorf("still %v", role)
	})
}

// idle counts the connections with a client name that neither subscribe nor publish: those
// of go-redis, and those for queries.
func idle(srv *servers.Redis, name string) (n int) {
	list, _ := srv.Do("CLIENT", "LIST").(string)
	for l := range strings.Lines(list) {
		if strings.Contains(l, " name="+name+" ") && strings.Contains(l, " sub=0 psub=0 ") {
			n++
		}
	}
	return n
}

// TestNodeLeavesCluster: brokers leave a node that has been removed from its cluster, in each of the
// possible ways.
func TestNodeLeavesCluster(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name   string
		remove func(c *bigCluster, node *servers.Redis)
	}{
		{"emptied", func(c *bigCluster, node *servers.Redis) { c.empty() }},
		{"removed", func(c *bigCluster, node *servers.Redis) {
			c.empty()
			c.forget(id(node))
			node.Do("CLUSTER", "RESET", "SOFT")
		}},
		{"reset with its slots", func(c *bigCluster, node *servers.Redis) {
			name := id(node)
			node.Do("CLUSTER", "RESET", "HARD")
			c.forget(name)
		}},
		{"forgotten with its slots", func(c *bigCluster, node *servers.Redis) { c.forget(id(node)) }},
		{"in a cluster of its own", func(c *bigCluster, node *servers.Redis) {
			node.Do("CLUSTER", "RESET", "SOFT")
			c.forget(id(node))
			node.Do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 4)
			last := c.nodes[3]
			f := &fleet{t: t}
			client := c.client("node")
			for on := 0; on < 2 || len(f.nodes) < 5; {
				f.join(client)
				list, _ := last.Do("CLIENT", "LIST", "TYPE", "pubsub").(string)
				on = strings.Count(list, "name=node")
			}
			f.whole()
			way.remove(c, last)
			removed := time.Now()
			eventually(t, func() error {
				if list, _ := last.Do("CLIENT", "LIST", "TYPE", "pubsub").(string); list != "" {
					return fmt.Errorf("subscribed to the node that left: %s", list)
				}
				return nil
			})
			f.whole()
			f.join(c.client("node"))
			f.whole()
			t.Logf("all messages arrive again after %v", time.Since(removed))
			moved := 0
			for _, b := range f.nodes {
				moved += int(b.Stats().Interruptions)
			}
			assert.GreaterOrEqual(t, moved, 2, "interruptions of the brokers that were connected to it")
		})
	}
}

// forget removes a node from the other nodes' tables.
func (c *bigCluster) forget(name string) {
	for _, n := range c.nodes[:len(c.nodes)-1] {
		n.Do("CLUSTER", "FORGET", name)
	}
}

// TestWithoutExaminePermission: a user without CLUSTER NODES, ROLE and PING is served nevertheless,
// and a demotion is noticed by HELLO, which needs no permission.
func TestWithoutExaminePermission(t *testing.T) {
	t.Parallel()
	primary, next := servers.StartRedis(t, nil), servers.StartRedis(t, nil)
	for _, srv := range []*servers.Redis{primary, next} {
		srv.Do("ACL", "SETUSER", "default", "-role", "-cluster", "-ping", "-info")
	}
	b := open(t, primary.Addr(), quick())
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	publish(t, b, room, "served")
	r.Want(room, "served")
	host, port, _ := net.SplitHostPort(next.Addr())
	primary.Do("REPLICAOF", host, port)
	var stray *redisbroker.MembershipError
	c := r.WantCall("interrupted")
	assert.ErrorAs(t, c.Err, &stray)
	primary.Do("REPLICAOF", "NO", "ONE")
	r.WantCall("resumed")
}
