package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
)

// Harness describes one kind of broker to the suite.
type Harness struct {
	// Name of the broker and of its deployment, such as "redis-cluster", for log lines and test attributes. Empty means
	// the Name of its Capabilities.
	Name string

	// Open returns a fresh system for one case: no message or subscriber of an earlier case may be received or counted
	// on it. The suite calls it on the goroutine of the test, so it may use tb to end the test. It has no context and no
	// time limit. Functions given to tb.Cleanup run after the suite has closed all brokers of the case. Required.
	Open func(tb testing.TB) System

	// Subscription is the mode of the namespaces of RunFleet and Soak. The zero value leaves it to the nodes.
	Subscription backplane.SubscriptionMode

	// Keys are the keys with which the nodes of RunFleet and Soak sign. Nil means that they sign nothing.
	Keys *backplane.Keyring

	// Timeout limits the time of one case, including recoveries from outages. Zero or negative means 30 seconds.
	Timeout time.Duration

	quiet bool // no attributes: this run tests the suite, not a broker
}

// System is a publish/subscribe system on which brokers can be made.
type System struct {
	// Node makes one more broker, with a link of its own. Required. The suite closes the broker. Cases call Node from
	// several goroutines, so it must return its errors and never end the test. It may call tb.Cleanup, tb.Log and
	// tb.TempDir.
	Node func(ctx context.Context) (*Node, error)

	// Restart stops the server and starts it again, without its subscriptions. Nil if that cannot be done. Restart and
	// Supersede follow the rules of Node's functions, and are called one at a time.
	Restart func(ctx context.Context) error

	// Supersede makes another server take the place of the one that the nodes are connected to. It closes no
	// connection: the old server still responds, and reports its new role if asked. New connections lead to the other
	// server. Nil if that cannot be done.
	Supersede func(ctx context.Context) error

	// Those of the Harness.
	subscription backplane.SubscriptionMode
	keys         *backplane.Keyring
}

// Node is one broker and the faults that can be injected into it. A nil function is a power that the harness lacks;
// cases that need it are skipped and listed.
//
// Each function returns when the fault is in effect, or has ended. The broker may notice later. The suite calls the
// functions from goroutines of its cases, for one node one at a time. So they must not end the test: they return an error.
// They must return when their context ends. Otherwise the suite reports that a call of the broker hangs (B20). Refused
// only looks at an error, and may be called by several goroutines at the same time.
type Node struct {
	// Broker is the node's broker. Required.
	Broker broker.Broker

	// Cut breaks the connections of the broker and refuses new ones until Heal.
	Cut, Heal func(ctx context.Context) error

	// HalfOpen blocks all traffic in both directions and closes nothing, until Heal.
	HalfOpen func(ctx context.Context) error

	// Freeze blocks the messages to and from this broker, like HalfOpen, but so that neither the broker nor the system
	// notices: a case thaws it within about a second. Thaw lets the blocked messages continue. None is lost.
	Freeze, Thaw func(ctx context.Context) error

	// SlowLink delays all traffic on the link by d. Zero ends the delay.
	SlowLink func(ctx context.Context, d time.Duration) error

	// Kill makes the node crash. It never comes back.
	Kill func(ctx context.Context) error

	// Deny makes the system refuse this node's subscriptions, and withdraw the granted ones, until Allow.
	// DenyPublishing makes it refuse the node's messages, and DenyCounting its counts of subscribers. No other node is
	// affected. Refused reports whether an error has the system's reason.
	Deny, DenyPublishing, DenyCounting, Allow func(ctx context.Context) error
	Refused                                   func(error) bool
}

// OverTCP returns the node of a broker whose connections all go through links, one for each server. It sets Cut, HalfOpen,
// Heal, Freeze, Thaw, SlowLink and Kill. The links stay the caller's, who closes them. A broker whose liveness probe gives
// up in less than 2 seconds needs a Freeze of its own, because that of OverTCP blocks the probe too.
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

// Power is a fault that a harness can inject. Values can be combined with |.
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
