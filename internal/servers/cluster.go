package servers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// clusterSlots is the number of slots of every Redis Cluster.
const clusterSlots = 16384

// RedisCluster is a Redis Cluster of three masters and the nodes of AddNode. Pub/sub works while a node is down: full
// coverage is not required.
type RedisCluster struct {
	Nodes [3]*Redis
	Added []*Redis
}

// StartRedisCluster starts three nodes, makes a cluster of them and waits until each of them sees all others.
func StartRedisCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	c := &RedisCluster{}
	for i := range c.Nodes {
		c.Nodes[i] = startNode(tb)
	}
	per := clusterSlots / len(c.Nodes)
	for i, n := range c.Nodes {
		last := (i+1)*per - 1
		if i == len(c.Nodes)-1 {
			last = clusterSlots - 1
		}
		n.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*per), strconv.Itoa(last))
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, n := range c.Nodes[1:] {
		n.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(c.Nodes[0].port), c.Nodes[0].busPort())
	}
	c.WaitWhole(tb)
	return c
}

func startNode(tb testing.TB) *Redis {
	tb.Helper()
	return StartRedis(tb, &RedisOptions{Args: []string{
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(FreePort(tb)),
		"--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0",
	}})
}

// AddNode starts one more node and waits until every node sees it: a replica of a master,
// or a master without slots if that is nil.
func (c *RedisCluster) AddNode(tb testing.TB, master *Redis) *Redis {
	tb.Helper()
	n := startNode(tb)
	for _, other := range c.all() { // all nodes, to avoid waiting for gossip
		n.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.port), other.busPort())
	}
	c.Added = append(c.Added, n)
	c.WaitWhole(tb)
	if master == nil {
		return n
	}
	id, _ := master.Do("CLUSTER", "MYID").(string)
	n.Do("CLUSTER", "REPLICATE", id)
	await(tb, "a replica in step", func(ctx context.Context) error {
		if answer, err := n.do(ctx, "INFO", "replication"); err != nil || !strings.Contains(fmt.Sprint(answer), "master_link_status:up") {
			return fmt.Errorf("%v, %v", answer, err)
		}
		for _, other := range c.all() {
			if answer, err := other.do(ctx, "CLUSTER", "REPLICAS", id); err != nil || !strings.Contains(fmt.Sprint(answer), n.Addr()) {
				return fmt.Errorf("%s does not see the replica: %v, %v", other.Addr(), answer, err)
			}
		}
		return nil
	})
	return n
}

func (c *RedisCluster) all() []*Redis { return append(c.Nodes[:], c.Added...) }

func (r *Redis) busPort() string {
	for i, a := range r.args {
		if a == "--cluster-port" {
			return r.args[i+1]
		}
	}
	return ""
}

// Addrs returns the addresses of the nodes.
func (c *RedisCluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// WaitWhole waits until every node sees all the others, and all slots are served.
func (c *RedisCluster) WaitWhole(tb testing.TB) {
	tb.Helper()
	await(tb, "whole", c.whole)
}

func (c *RedisCluster) whole(ctx context.Context) error {
	all := c.all()
	for _, n := range all {
		answer, err := n.do(ctx, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		info, _ := answer.(string)
		for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:" + strconv.Itoa(len(all)) + "\r"} {
			if !strings.Contains(info, want) {
				return fmt.Errorf("%s: no %s", n.Addr(), want)
			}
		}
		// Links between nodes may come up later than the state reports: wait for one in each direction to both others.
		links, err := n.do(ctx, "CLUSTER", "LINKS")
		if err != nil {
			return err
		}
		if list, ok := links.([]any); ok && len(list) < 2*(len(all)-1) {
			return fmt.Errorf("%s: %d links", n.Addr(), len(list))
		}
	}
	return nil
}

// MoveSlots moves slots from one master to another, as resharding tools do, one after another. A master that has lost its
// last slot may become a replica of the other one before its own list is changed.
func (c *RedisCluster) MoveSlots(from, to *Redis, slots ...uint16) {
	from.tb.Helper()
	source, _ := from.Do("CLUSTER", "MYID").(string)
	target, _ := to.Do("CLUSTER", "MYID").(string)
	for _, slot := range slots {
		s := strconv.Itoa(int(slot))
		to.Do("CLUSTER", "SETSLOT", s, "IMPORTING", source)
		from.Do("CLUSTER", "SETSLOT", s, "MIGRATING", target)
		to.Do("CLUSTER", "SETSLOT", s, "NODE", target)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if _, err := from.do(ctx, "CLUSTER", "SETSLOT", s, "NODE", target); err != nil && !strings.Contains(err.Error(), "only with masters") {
			from.tb.Fatalf("redis %s: slot %s: %v", from.Addr(), s, err)
		}
		cancel()
	}
}

// Forget removes a node without slots from the cluster.
func (c *RedisCluster) Forget(tb testing.TB, n *Redis) {
	tb.Helper()
	id, _ := n.Do("CLUSTER", "MYID").(string)
	c.Added = slices.DeleteFunc(c.Added, func(other *Redis) bool { return other == n })
	for _, other := range c.all() {
		other.Do("CLUSTER", "FORGET", id)
	}
	n.Do("CLUSTER", "RESET")
	c.WaitWhole(tb)
}
