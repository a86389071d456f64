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
	single   *redis.Client        // also for Sentinel, whose dialer asks for the master
	cluster  *redis.ClusterClient // nil unless it is a cluster
	replicas bool                 // a replica will do: it is Options.SubscribeClient
	limits   *limits

	mu      sync.Mutex
	known   []*redis.Client // masters as last seen
	seen    time.Time
	before  []*redis.Client // masters as seen before that
	since   time.Time
	ids     map[string]bool // of the cluster's nodes, as the last one that was examined knew them
	loading chan struct{}   // closed when the running look-up ends; nil if none runs
	err     error           // of the last look-up
}

func newNodes(c redis.UniversalClient, l *limits) (*nodes, error) {
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
		return &nodes{single: c, limits: l}, nil
	case *redis.ClusterClient:
		if c == nil {
			return unsupported("is nil")
		}
		return &nodes{cluster: c, limits: l}, nil
	case *redis.Ring:
		return unsupported("a ring spreads channels over servers that do not know each other, so that patterns miss messages")
	}
	return unsupported("only *redis.Client (single or Sentinel) and *redis.ClusterClient are known")
}

const (
	// mastersAge is how long a cluster's list of masters is believed.
	mastersAge = 5 * time.Second
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
	if !fresh && len(n.known) > 0 && time.Since(n.seen) < mastersAge {
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
	n.mu.Lock()
	known := n.known
	n.mu.Unlock()
	found, err := n.look(known)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err = err; err == nil {
		n.before, n.since = n.known, n.seen
		n.known, n.seen = found, time.Now()
	}
	n.loading = nil
	close(done)
}

// looks is how often the nodes of a cluster are asked for its masters before a list is
// believed that has little in common with the last one.
const looks = 8

// look asks for the masters of a cluster. go-redis chooses a node at random, and one that
// was removed from the cluster may be among those it knows: alone, or part of another. So
// an empty list is asked for again, and one that leaves out most of the known masters must
// be what all say.
func (n *nodes) look(known []*redis.Client) ([]*redis.Client, error) {
	var last []*redis.Client
	for range looks {
		var mu sync.Mutex
		var found []*redis.Client
		err := n.cluster.ForEachMaster(context.Background(), func(_ context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, c)
			return nil
		})
		if err != nil {
			return nil, err
		}
		common := func(of []*redis.Client) (n int) {
			for _, c := range of {
				if hasAddr(found, addr(c)) {
					n++
				}
			}
			return n
		}
		switch {
		case len(found) == 0:
			continue
		case 2*common(known) >= len(known):
			last = found
		case last != nil && (len(last) != len(found) || common(last) < len(last)):
			return nil, errors.New("the nodes of the cluster disagree about its masters")
		default:
			last = found
			continue
		}
		break
	}
	if last == nil {
		return nil, errors.New("the cluster has no masters")
	}
	slices.SortFunc(last, func(a, b *redis.Client) int { return strings.Compare(addr(a), addr(b)) })
	return last, nil
}

func addr(c *redis.Client) string { return c.Options().Addr }

func hasAddr(list []*redis.Client, address string) bool {
	return slices.ContainsFunc(list, func(c *redis.Client) bool { return addr(c) == address })
}

// listed reports, of a server that sees itself as a master of its cluster, whether others
// do as well: a cluster may have forgotten one of its nodes, which does not notice. It
// compares with the last two lists of masters, one of which the node itself may have
// given, and has a new one made.
func (n *nodes) listed(c *conn) error {
	if n.cluster == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loading == nil {
		n.loading = make(chan struct{})
		go n.load(n.loading)
	}
	if n.since.Before(c.born) || hasAddr(n.known, c.addr) || hasAddr(n.before, c.addr) {
		return nil
	}
	return &MembershipError{Addr: c.addr, Reason: "it is not among the masters of its cluster, as others see it"}
}

// picker chooses the server for one long-lived connection: the same one for as long
// as it can be reached, then the next.
type picker struct {
	nodes *nodes
	use   use
	addr  string // used last
}

// dial opens a connection. In a cluster it tries every master before it gives up.
func (p *picker) dial(ctx context.Context, timeout time.Duration) (*conn, error) {
	list, err := p.nodes.masters(ctx, true)
	if err != nil {
		return nil, err
	}
	c, err := p.try(ctx, timeout, list)
	var foreign *foreignError
	if errors.As(err, &foreign) && ctx.Err() == nil {
		// None that can be reached is of the same cluster: it may have been set up anew.
		p.nodes.forget()
		c, err = p.try(ctx, timeout, list)
	}
	return c, err
}

func (p *picker) try(ctx context.Context, timeout time.Duration, list []*redis.Client) (*conn, error) {
	first := slices.IndexFunc(list, func(c *redis.Client) bool { return addr(c) == p.addr })
	if first < 0 { // the brokers of a fleet spread over the cluster
		first = rand.IntN(len(list))
	}
	var failures []error
	for i := range list {
		client := list[(first+i)%len(list)]
		c, err := p.nodes.dial(ctx, client.Options(), timeout, p.use)
		if err == nil {
			p.addr = addr(client)
			return c, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// forget makes the next server's cluster that of the fleet.
func (n *nodes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids = nil
}
