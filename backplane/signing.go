package backplane

import (
	"fmt"
	"strings"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/seal"
)

// With Options.Keys, seal.Broker signs all that a node publishes. What comes in is verified in two places: control
// frames before they are queued (verifiedControl), and all else before it is decoded (arrivals.verified). An unsigned
// message may be one of a Node.js server: arrivals.admitted looks at it again when it is decoded.

// guard verifies the messages that come to a node. It is nil without Options.Keys.
type guard struct {
	*seal.Verifier
	keys     *Keyring
	unsigned Operations
	nodes    bool // unsigned messages of Crossroom nodes are accepted
}

// sign makes a node sign and verify, if it has keys.
func (n *Node) sign() {
	if n.opts.Keys == nil {
		return
	}
	n.broker = n.opts.Keys.signing(n.given)
	n.guard = &guard{
		Verifier: seal.NewVerifier(&n.opts.Keys.ring, n.given.Capabilities().Prefix), keys: n.opts.Keys,
		unsigned: n.opts.Unsigned, nodes: n.opts.UnsignedNodes,
	}
}

// verifiedControl reports whether to take in a control frame. Only Crossroom nodes send any.
func (n *Node) verifiedControl(ch broker.Channel, payload []byte) bool {
	f := n.guard.Verify(ch, payload)
	if f == nil || f.Reason == seal.Unsigned && n.guard.nodes {
		return true
	}
	n.refuse(ch, f, func() string { return membership.Sender(payload) })
	return false
}

// verified reports whether to decode a message. a.unsigned is set if admitted must decide.
func (a *arrivals) verified(ch broker.Channel, payload []byte) bool {
	g := a.ns.node.guard
	f := g.Verify(ch, payload)
	a.unsigned = f != nil && f.Reason == seal.Unsigned && (g.nodes || g.unsigned != 0 && a.foreign)
	if f == nil || a.unsigned {
		return true
	}
	a.refused(ch, f, func() string { return "" })
	return false
}

// admitted reports whether to take in an unsigned message of a kind. ours means that only Crossroom nodes send such
// messages.
func (a *arrivals) admitted(ch broker.Channel, kind Operations, ours bool, sender string) bool {
	n := a.ns.node
	if n.guard.nodes || n.guard.unsigned&kind != 0 && !ours && sender != n.id && !n.members.Known(sender) {
		return true
	}
	a.refused(ch, &seal.Failure{Reason: seal.Unsigned}, func() string { return sender })
	return false
}

func (a *arrivals) refused(ch broker.Channel, f *seal.Failure, sender func() string) {
	a.ns.node.refuse(ch, f, sender)
	a.drop(ch, observe.DropUnverified, nil)
}

// refuse counts and reports a message that is not taken in.
func (n *Node) refuse(ch broker.Channel, f *seal.Failure, sender func() string) {
	n.monitor.Unverified.Add(1)
	n.monitor.Report(&MessageError{Channel: ch.Clone(), Sender: strings.Clone(sender()), Err: n.guard.errorOf(f)})
}

// errorOf returns the public error of a failure.
func (g *guard) errorOf(f *seal.Failure) error {
	switch f.Reason {
	case seal.UnknownKey:
		return fmt.Errorf("%w: it is signed with key %s, and this node has %s", ErrUnknownKey, f.Key, g.keys)
	case seal.Forged:
		return ErrForged
	case seal.Stale:
		return fmt.Errorf("%w: it was signed %v ago, by this node's clock", ErrStale, f.Age)
	case seal.Replayed:
		return ErrReplayed
	}
	return ErrUnsigned
}
