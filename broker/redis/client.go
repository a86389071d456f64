package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// nodes are the servers behind a client, as go-redis clients of single servers.
// Only their options are used (see dial).
type nodes struct {
	single  *redis.Client        // also for Sentinel, whose dialer asks for the master
	cluster *redis.ClusterClient // nil unless it is a cluster

	mu      sync.Mutex
	known   []*redis.Client // masters as last seen
	seen    time.Time
	loading chan struct{} // closed when the running look-up ends; nil if none runs
	err     error         // of the last look-up
}

func newNodes(c redis.UniversalClient) (*nodes, error) {
	unsupported := func(reason string) (*nodes, error) {
		return nil, &ClientError{Type: fmt.Sprintf("%T", c), Reason: reason}
	}
	switch c := c.(type) {
	case nil:
		return unsupported("is nil")
	case *redis.Client:
		if c == nil {
			return unsupported("is nil")
		}
		return &nodes{single: c}, nil
	case *redis.ClusterClient:
		if c == nil {
			return unsupported("is nil")
		}
		return &nodes{cluster: c}, nil
	case *redis.Ring:
		return unsupported("a ring spreads channels over servers that do not know each other, so that patterns miss messages")
	}
	return unsupported("only *redis.Client (single or Sentinel) and *redis.ClusterClient are known")
}

const (
	// clusterView is how long a cluster's list of masters is believed.
	clusterView = 5 * time.Second
	// clusterPatience is how long a new list is waited for.
	clusterPatience = 2 * time.Second
)

// masters returns the servers that together hold all subscriptions: one, or the
// masters of a cluster in the order of their addresses. fresh asks for a new look.
func (n *nodes) masters(ctx context.Context, fresh bool) ([]*redis.Client, error) {
	if n.single != nil {
		return []*redis.Client{n.single}, nil
	}
	n.mu.Lock()
	if !fresh && len(n.known) > 0 && time.Since(n.seen) < clusterView {
		known := n.known
		n.mu.Unlock()
		return known, nil
	}
	if n.loading == nil {
		n.loading = make(chan struct{})
		// go-redis heeds a context here only in part, so the look-up has a goroutine
		// of its own, which its own timeouts end.
		go n.load(n.loading)
	}
	loading := n.loading
	n.mu.Unlock()

	patience := time.NewTimer(clusterPatience)
	defer patience.Stop()
	select {
	case <-loading:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-patience.C:
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case len(n.known) > 0: // perhaps an old view, which is better than none
		return n.known, nil
	case n.loading == nil:
		return nil, n.err
	}
	return nil, fmt.Errorf("redis cluster: no list of masters within %v", clusterPatience)
}

func (n *nodes) load(done chan struct{}) {
	var mu sync.Mutex
	var found []*redis.Client
	err := n.cluster.ForEachMaster(context.Background(), func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, c)
		return nil
	})
	if err == nil && len(found) == 0 {
		err = errors.New("the cluster has no masters")
	}
	slices.SortFunc(found, func(a, b *redis.Client) int { return strings.Compare(a.Options().Addr, b.Options().Addr) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err = err; err == nil {
		n.known, n.seen = found, time.Now()
	}
	n.loading = nil
	close(done)
}

// picker chooses the server for one long-lived connection: the same one for as long
// as it can be reached, then the next.
type picker struct {
	nodes *nodes
	addr  string // used last
}

// dial opens a connection. In a cluster it tries every master before it gives up.
func (p *picker) dial(ctx context.Context, timeout time.Duration) (*conn, error) {
	list, err := p.nodes.masters(ctx, true)
	if err != nil {
		return nil, err
	}
	first := slices.IndexFunc(list, func(c *redis.Client) bool { return c.Options().Addr == p.addr })
	if first < 0 { // the brokers of a fleet spread over the cluster
		first = rand.IntN(len(list))
	}
	var failures []error
	for i := range list {
		client := list[(first+i)%len(list)]
		c, err := dial(ctx, client.Options(), timeout)
		if err == nil {
			p.addr = client.Options().Addr
			return c, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}
