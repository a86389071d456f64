package redisbroker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// A server may have lost its place without noticing it: its cluster has removed it, or Sentinel,
// which cannot reach it, has made a replica the master. Only other servers know that.
// Therefore the broker also checks what the others say.

const (
	// listAge is how old a list of a cluster's masters may be to check a server against it.
	listAge = 250 * time.Millisecond
	// leadAge is how long a look-up of the master by Sentinel is used. A look-up opens a
	// connection through the client's dialer and closes it again.
	leadAge = 4 * time.Second
)

// lead is the address that a new connection reached.
type lead struct {
	addr string
	at   time.Time
}

// elsewhere returns an error if other servers say that a server, which calls itself a primary or
// a master, is none. It compares with their last responses, and starts the next query.
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

// listed compares with the last two lists of the cluster's masters. The server itself may have
// given one of these. mu is held.
func (n *nodes) listed(c *conn) error {
	if n.loading == nil && time.Since(n.seen) >= listAge {
		n.loading = make(chan struct{})
		go n.load(n.loading)
	}
	if n.since.Before(c.born) || hasAddr(n.known, c.addr) || hasAddr(n.before, c.addr) {
		return nil
	}
	return &MembershipError{Addr: c.addr, Reason: "the other nodes of its cluster do not list it as a master"}
}

// led compares with the addresses that the last two new connections reached. These were made
// through the client's dialer, which queries Sentinel. mu is held.
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

// follow makes a connection and records the address that it reached.
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
