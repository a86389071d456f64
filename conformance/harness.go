package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
)

// Harness is what the suite has to know of one kind of broker.
type Harness struct {
	// Name of the broker, and of how it is run, in figures and in the table of make
	// test, such as "redis-cluster". Empty: the Name of its Capabilities.
	Name string

	// Open gives a fresh system for one case: nothing that an earlier one did may
	// be heard or counted on it. The suite calls it on the goroutine of the test, so
	// it may use tb to end the test, and for Cleanup, which runs after the suite has
	// closed all brokers of the case. Required.
	Open func(tb testing.TB) System

	// Timeout is how long one case may take, recoveries from outages included.
	// Zero or negative: 30 seconds.
	Timeout time.Duration

	quiet bool // no attributes: this run is about the suite, not about a broker
}

// System is a publish/subscribe system on which brokers can be made.
type System struct {
	// Node makes one more broker, with a link of its own. Required. The suite
	// closes the broker. Cases call Node from several goroutines, so it returns its
	// errors and never ends the test.
	Node func(ctx context.Context) (*Node, error)

	// Restart stops the server and starts it again; it has then forgotten all
	// subscriptions. Nil if that cannot be done.
	Restart func(ctx context.Context) error

	// Supersede has another server take the place of the one that the nodes are connected
	// to. It closes no connection: the old server goes on responding, and says that it is
	// superseded if it is asked; new connections lead to the other one. Nil if that cannot
	// be done.
	Supersede func(ctx context.Context) error
}

// Node is one broker and what can be done to it. A nil function is a power that
// the harness does not have; what needs it is skipped and listed.
//
// Each function returns when the thing is done to the link, which may be before
// the broker has noticed.
type Node struct {
	// Broker is this node's. Required.
	Broker broker.Broker

	// Cut breaks the connections of the broker and refuses new ones until Heal.
	Cut, Heal func(ctx context.Context) error

	// HalfOpen lets nothing through any more, in either direction, and closes
	// nothing, until Heal.
	HalfOpen func(ctx context.Context) error

	// Freeze stops whatever brings messages to this broker, and its own, without
	// the system noticing; Thaw lets it run on, with nothing missed.
	Freeze, Thaw func(ctx context.Context) error

	// SlowLink delays everything on the link by d; zero ends that.
	SlowLink func(ctx context.Context, d time.Duration) error

	// Kill makes the node vanish without goodbye, for ever.
	Kill func(ctx context.Context) error

	// Deny makes the system refuse what this node subscribes to, and withdraw what it had
	// granted, until Allow. DenyPublishing makes it refuse what this node publishes, and
	// DenyCounting to tell it who subscribes. No other node is affected. Refused reports
	// whether an error has the system's reason.
	Deny, DenyPublishing, DenyCounting, Allow func(ctx context.Context) error
	Refused                                   func(error) bool
}

// OverTCP is the node of a broker whose connections all go through links, one for each
// server, with every power that links give. Freeze is a link that passes nothing on: the cases
// that use it end it within a second or so, before a broker that probes its link should
// have noticed.
func OverTCP(b broker.Broker, links ...*tcpproxy.Proxy) *Node {
	each := func(f func(*tcpproxy.Proxy)) func(context.Context) error {
		return func(context.Context) error {
			for _, l := range links {
				f(l)
			}
			return nil
		}
	}
	return &Node{
		Broker:   b,
		Cut:      each((*tcpproxy.Proxy).Cut),
		HalfOpen: each((*tcpproxy.Proxy).HalfOpen),
		Heal:     each((*tcpproxy.Proxy).Heal),
		Freeze:   each((*tcpproxy.Proxy).HalfOpen),
		Thaw:     each((*tcpproxy.Proxy).Heal),
		Kill:     each((*tcpproxy.Proxy).Cut),
		SlowLink: func(_ context.Context, d time.Duration) error {
			return each(func(l *tcpproxy.Proxy) { l.Delay(d) })(context.Background())
		},
	}
}

// Power is something that a harness can do to a system. Values can be or-ed.
type Power uint

const (
	CanCut            Power = 1 << iota // Node.Cut and Node.Heal
	CanHalfOpen                         // Node.HalfOpen and Node.Heal
	CanFreeze                           // Node.Freeze and Node.Thaw
	CanSlowLink                         // Node.SlowLink
	CanKill                             // Node.Kill
	CanRestart                          // System.Restart
	CanDeny                             // Node.Deny, Node.Allow and Node.Refused
	CanDenyPublishing                   // Node.DenyPublishing, Node.Allow and Node.Refused
	CanSupersede                        // System.Supersede
	CanDenyCounting                     // Node.DenyCounting, Node.Allow and Node.Refused
)

// String lists the powers by name.
func (p Power) String() string {
	var names []string
	for i, name := range []string{"cut", "half-open", "freeze", "slow-link", "kill", "restart", "deny", "deny-publishing", "supersede", "deny-counting"} {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "+")
}

func powersOf(sys System, n *Node) Power {
	var p Power
	for _, x := range []struct {
		power Power
		has   bool
	}{
		{CanCut, n.Cut != nil && n.Heal != nil},
		{CanHalfOpen, n.HalfOpen != nil && n.Heal != nil},
		{CanFreeze, n.Freeze != nil && n.Thaw != nil},
		{CanSlowLink, n.SlowLink != nil},
		{CanKill, n.Kill != nil},
		{CanRestart, sys.Restart != nil},
		{CanDeny, n.Deny != nil && n.Allow != nil && n.Refused != nil},
		{CanDenyPublishing, n.DenyPublishing != nil && n.Allow != nil && n.Refused != nil},
		{CanSupersede, sys.Supersede != nil},
		{CanDenyCounting, n.DenyCounting != nil && n.Allow != nil && n.Refused != nil},
	} {
		if x.has {
			p |= x.power
		}
	}
	return p
}
