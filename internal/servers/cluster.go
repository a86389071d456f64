package servers

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// clusterSlots is the number of slots of every Redis Cluster.
const clusterSlots = 16384

// RedisCluster is a Redis Cluster of three masters without replicas. It goes on
// working for pub/sub when a node is away: full coverage is not required.
type RedisCluster struct {
	Nodes [3]*Redis
}

// StartRedisCluster starts three nodes, makes a cluster of them and waits until
// each of them sees it whole.
func StartRedisCluster(tb testing.TB) *RedisCluster {
	tb.Helper()
	c := &RedisCluster{}
	for i := range c.Nodes {
		c.Nodes[i] = StartRedis(tb, &RedisOptions{Args: []string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(FreePort(tb)),
			"--cluster-require-full-coverage", "no",
		}})
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
		info := c.Nodes[0].Do("CLUSTER", "MYID")
		if info == nil {
			tb.Fatal("no cluster id")
		}
		n.Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(c.Nodes[0].port), c.Nodes[0].busPort())
	}
	c.WaitWhole(tb)
	return c
}

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

// WaitWhole waits until every node sees all the others, and all slots served.
func (c *RedisCluster) WaitWhole(tb testing.TB) {
	tb.Helper()
	await(tb, "whole", c.whole)
}

func (c *RedisCluster) whole(ctx context.Context) error {
	for _, n := range c.Nodes {
		answer, err := n.do(ctx, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		info, _ := answer.(string)
		for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3"} {
			if !strings.Contains(info, want) {
				return fmt.Errorf("%s: no %s", n.Addr(), want)
			}
		}
		// Messages travel between nodes on links that may come up later than the
		// state says: wait for one in each direction to both others.
		links, err := n.do(ctx, "CLUSTER", "LINKS")
		if err != nil {
			return err
		}
		if list, ok := links.([]any); ok && len(list) < 2*(len(c.Nodes)-1) {
			return fmt.Errorf("%s: %d links", n.Addr(), len(list))
		}
	}
	return nil
}
