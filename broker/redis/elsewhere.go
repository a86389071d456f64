package redisbroker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server that sees nothing wrong with itself may have lost its place all the same: its
// cluster has forgotten it, or Sentinel, which cannot reach it, has made a replica the
// master. Only others know that, so they are asked too.

const (
	// listAge is how old the list of a cluster's masters may be that a server must be in.
	listAge = 250 * time.Millisecond
	// leadAge is how old the answer of a Sentinel may be, to whose master a connection is
	// made and closed again.
	leadAge = 4 * time.Second
)

// lead is where a new connection went.
type lead struct {
	addr string
	at   time.Time
}

// elsewhere reports whether others say that a server, which calls itself a primary or a
// master, is none. It goes by what they said last, and has them asked again.
func (n *nodes) elsewhere(c *conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case c.use == forSurveys:
		return nil
	case n.cluster != nil:
		return n.listed(c)
	case n.single.Options().Addr == sentinelAddr && c.standing.role == "master":
		return n.led(c)
	}
	return nil
}

// listed compares with the last two lists of the cluster's masters, one of which the
// node itself may have given. mu is held.
func (n *nodes) listed(c *conn) error {
	if n.loading == nil && time.Since(n.seen) >= listAge {
		n.loading = make(chan struct{})
		go n.load(n.loading)
	}
	if n.since.Before(c.born) || hasAddr(n.known, c.addr) || hasAddr(n.before, c.addr) {
		return nil
	}
	return &MembershipError{Addr: c.addr, Reason: "it is not among the masters of its cluster, as others see it"}
}

// led compares with where the last two new connections went: through the client's dialer,
// which asks Sentinel. mu is held.
func (n *nodes) led(c *conn) error {
	here, now := c.RemoteAddr().String(), n.leads[0]
	if n.loading == nil && (time.Since(now.at) >= leadAge || now.addr != here) {
		n.loading = make(chan struct{})
		go n.follow(n.loading)
	}
	if n.leads[1].at.Before(c.born) || now.addr == here || now.addr != n.leads[1].addr {
		return nil
	}
	return &MembershipError{Addr: c.addr, Reason: "Sentinel leads to another master"}
}

// follow makes a connection and notes where it went.
func (n *nodes) follow(done chan struct{}) {
	opt := n.single.Options()
	ctx, cancel := context.WithTimeout(context.Background(), opt.DialTimeout)
	defer cancel()
	nc, err := rawDial(ctx, opt)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.leads = [2]lead{{nc.RemoteAddr().String(), time.Now()}, n.leads[0]}
		nc.Close()
	}
	n.loading = nil
	close(done)
}

func hasAddr(list []*redis.Client, address string) bool {
	for _, c := range list {
		if addr(c) == address {
			return true
		}
	}
	return false
}
