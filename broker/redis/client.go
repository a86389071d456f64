package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// nodes are the servers behind a client, as go-redis clients of single servers. Only the
// options of these are used (see dial).
type nodes struct {
	single   *redis.Client        // also for Sentinel, whose dialer looks up the master
	cluster  *redis.ClusterClient // nil unless it is a cluster
	sharded  bool                 // Options.Sharded
	replicas bool                 // a replica is allowed: the client is Options.SubscribeClient
	limits   *limits
	// providers has a token for each running call of a credentials provider.
	providers chan struct{}

	mu      sync.Mutex
	table   *slots          // made by slots
	known   []*redis.Client // the last list of masters
	seen    time.Time       // when it was read
	before  []*redis.Client // the list before that
	since   time.Time       // when that was read
	ids     map[string]bool // ids of the cluster's nodes, in the view of the node that was examined last
	leads   [2]lead         // to the master: the last and the one before
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
		if o := c.Options(); o.Network != "unix" && !isAddr(o.Addr) {
			return unsupported(urlAsAddr)
		}
		return &nodes{single: c, limits: l, providers: make(chan struct{}, providersRunning)}, nil
	case *redis.ClusterClient:
		if c == nil {
			return unsupported("is nil")
		}
		for _, a := range c.Options().Addrs {
			if !isAddr(a) {
				return unsupported(urlAsAddr)
			}
		}
		return &nodes{cluster: c, limits: l, providers: make(chan struct{}, providersRunning)}, nil
	case *redis.Ring:
		return unsupported("a ring spreads channels over independent servers, so patterns miss messages")
	}
	return unsupported("only *redis.Client (single server or Sentinel) and *redis.ClusterClient are supported")
}

// urlAsAddr is the reason for refusing such an address. It does not repeat the address, which
// may hold a password.
const urlAsAddr = "an address is a URL, or has a user in it, instead of host:port (redis.ParseURL reads URLs)"

// isAddr reports whether a client's address has no part that could belong to a password.
// go-redis repeats addresses in its errors.
func isAddr(addr string) bool { return !strings.ContainsAny(addr, "@/") }

// repeatsURL reports whether an error repeats such an address. The address of a Sentinel is not
// among the options of its client, so newNodes cannot check it.
func repeatsURL(err error) bool {
	bad, malformed := errors.AsType[*net.AddrError](err)
	unknown, missing := errors.AsType[*net.DNSError](err)
	return malformed && !isAddr(bad.Addr) || missing && !isAddr(unknown.Name)
}

const (
	// mastersAge is how long a cluster's list of masters is used.
	mastersAge = 5 * time.Second
	// mastersWait is how long a caller waits for a new list.
	mastersWait = 2 * time.Second
)

// masters returns the servers that together hold all subscriptions: a single one, or the
// masters of a cluster ordered by address. fresh requests a new list.
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
		// go-redis respects a context here only in part. Therefore a goroutine does the
		// look-up, and go-redis' own timeouts end it.
		go n.load(n.loading)
	}
	loading := n.loading
	n.mu.Unlock()

	timeout := time.NewTimer(mastersWait)
	defer timeout.Stop()
	select {
	case <-loading:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timeout.C:
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case len(n.known) > 0: // perhaps an old list, which is better than none
		return n.known, nil
	case n.loading == nil:
		return nil, n.err
	}
	return nil, fmt.Errorf("redis cluster: no list of masters within %v", mastersWait)
}

func (n *nodes) load(done chan struct{}) {
	n.mu.Lock()
	before, since := n.known, n.seen
	n.mu.Unlock()
	found, err := n.look(before)
	if err == nil && kept(before, found) < len(before) {
		// A master is missing. A second look-up verifies that.
		if again, err := n.look(before); err == nil {
			before, since, found = found, time.Now(), again
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err = err; err == nil {
		n.before, n.since = before, since
		n.known, n.seen = found, time.Now()
	}
	n.loading = nil
	close(done)
}

// kept returns how many of the servers in one list are in another.
func kept(list, in []*redis.Client) (n int) {
	for _, c := range list {
		if hasAddr(in, addr(c)) {
			n++
		}
	}
	return n
}

const (
	// looks is how many times a look-up queries nodes of the cluster for its masters. If a
	// list has little in common with the last one, agreed is how many times it must come.
	looks  = 8
	agreed = 6
)

// look queries nodes of the cluster for its masters. go-redis chooses a node at random. One of
// the nodes that it knows may have been removed from the cluster, and be alone or part of another
// one. Therefore look repeats the query after an empty list, and accepts a list without most of
// the known masters only if most responses agree.
func (n *nodes) look(known []*redis.Client) ([]*redis.Client, error) {
	votes := map[string]int{}
	for range looks {
		found, name, err := n.query()
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		if votes[name]++; 2*kept(known, found) >= len(known) || votes[name] == agreed {
			return found, nil
		}
	}
	if len(votes) == 0 {
		return nil, errors.New("the cluster has no masters")
	}
	return nil, errors.New("the nodes of the cluster disagree about its masters")
}

// query queries one node for the masters and orders them by address. name contains all their
// addresses.
func (n *nodes) query() (found []*redis.Client, name string, err error) {
	var mu sync.Mutex
	err = n.cluster.ForEachMaster(context.Background(), func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, c)
		return nil
	})
	slices.SortFunc(found, func(a, b *redis.Client) int { return strings.Compare(addr(a), addr(b)) })
	for _, c := range found {
		name += addr(c) + " "
	}
	return found, name, err
}

func addr(c *redis.Client) string { return c.Options().Addr }

// server is where a long-lived connection leads.
type server interface {
	dial(ctx context.Context, timeout time.Duration) (*conn, error)
	// left takes why the last connection has ended.
	left(cause error)
}

// picker chooses the server for one long-lived connection: the same server for as long as it
// can be reached, then any other.
type picker struct {
	nodes *nodes
	use   use
	addr  string // used last
	stray string // did not belong to the fleet when it was used last: others are tried first
}

// left records why the last connection was lost.
func (p *picker) left(cause error) {
	var stray *MembershipError
	if errors.As(cause, &stray) {
		p.stray, p.addr = p.addr, ""
	}
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
		// No server that can be reached is of the same cluster: it may have been set up anew.
		p.nodes.forget()
		c, err = p.try(ctx, timeout, list)
	}
	return c, err
}

func (p *picker) try(ctx context.Context, timeout time.Duration, list []*redis.Client) (*conn, error) {
	var failures []error
	for _, client := range p.order(list) {
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

// order returns the servers in the order in which to try them. It is random, so that the
// brokers of a fleet spread over the cluster.
func (p *picker) order(list []*redis.Client) []*redis.Client {
	order := make([]*redis.Client, len(list))
	for i, at := range rand.Perm(len(list)) {
		order[i] = list[at]
	}
	rank := func(c *redis.Client) int {
		switch addr(c) {
		case p.addr:
			return -1
		case p.stray:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b *redis.Client) int { return rank(a) - rank(b) })
	return order
}

// forget clears the known nodes of the cluster, so that the next server's cluster is accepted.
func (n *nodes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids = nil
}
