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
	leads   [2]lead         // to the master, as Sentinel said last and before
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
		return &nodes{single: c, limits: l}, nil
	case *redis.ClusterClient:
		if c == nil {
			return unsupported("is nil")
		}
		for _, a := range c.Options().Addrs {
			if !isAddr(a) {
				return unsupported(urlAsAddr)
			}
		}
		return &nodes{cluster: c, limits: l}, nil
	case *redis.Ring:
		return unsupported("a ring spreads channels over servers that do not know each other, so that patterns miss messages")
	}
	return unsupported("only *redis.Client (single or Sentinel) and *redis.ClusterClient are known")
}

// urlAsAddr does not repeat the address, which may hold a password.
const urlAsAddr = "an address is a URL, or has a user in it, instead of host:port (redis.ParseURL reads URLs)"

// isAddr reports whether the address of a client has nothing that could be part of a
// password: go-redis repeats addresses in its errors.
func isAddr(addr string) bool { return !strings.ContainsAny(addr, "@/") }

// repeatsURL reports whether an error has such an address, as of a Sentinel, which is not
// among the options of its client.
func repeatsURL(err error) bool {
	bad, malformed := errors.AsType[*net.AddrError](err)
	unknown, missing := errors.AsType[*net.DNSError](err)
	return malformed && !isAddr(bad.Addr) || missing && !isAddr(unknown.Name)
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
	before, since := n.known, n.seen
	n.mu.Unlock()
	found, err := n.look(before)
	if err == nil && kept(before, found) < len(before) {
		// A master is gone. Another look makes sure of that at once.
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
	// looks is how often the nodes of a cluster are asked for its masters before a list is
	// believed that has little in common with the last one, and agreed how many must give it.
	looks  = 8
	agreed = 6
)

// look asks for the masters of a cluster. go-redis chooses a node at random, and one that
// was removed from the cluster may be among those it knows: alone, or part of another. So
// an empty list is asked for again, and one that leaves out most of the known masters must
// be what most say.
func (n *nodes) look(known []*redis.Client) ([]*redis.Client, error) {
	votes := map[string]int{}
	for range looks {
		found, name, err := n.ask()
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

// ask asks one node for the masters, in the order of their addresses. name has them all.
func (n *nodes) ask() (found []*redis.Client, name string, err error) {
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

// picker chooses the server for one long-lived connection: the same one for as long
// as it can be reached, then any other.
type picker struct {
	nodes *nodes
	use   use
	addr  string // used last
	stray string // turned out to be none of the fleet's: others are tried first
}

// left notes why the last connection has ended.
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
		// None that can be reached is of the same cluster: it may have been set up anew.
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

// forget makes the next server's cluster that of the fleet.
func (n *nodes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids = nil
}
