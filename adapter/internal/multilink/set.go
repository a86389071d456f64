// Package multilink serves a namespace that is on several links (prefixes or brokers) at
// once. It accepts each message once (Dedup), merges the results of several links (Merge),
// and forwards broadcasts that arrive on one link only (BridgeOptions). It knows no sockets
// and no wire format.
package multilink

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Link is one link of a Set.
type Link struct {
	// Key is the same on all nodes.
	Key    string
	V5     bool // its dialect
	Broker broker.Broker
	Node   wire.Node
	// Peers is backplane.Node.KnownPeers.
	Peers func() []observe.Peer

	// Core is the namespace on this link. Except converts the exceptions of a broadcast to a
	// form that all servers of the link understand. Both are set before Set.Start.
	Core   wire.Namespace
	Except func(ctx context.Context, names []string, isID func(string) bool) ([]string, error)
}

// Set is one namespace on all links of its server.
type Set struct {
	uid, namespace string
	links          []*Link
	dedup          *Dedup
	bridge         *bridge // nil: none
	live           atomic.Bool
}

// NewSet returns the set of a namespace. bridge may be nil.
func NewSet(uid, namespace string, links []*Link, d *Dedup, bridge *BridgeOptions) *Set {
	s := &Set{uid: uid, namespace: namespace, links: links, dedup: d}
	if bridge != nil {
		s.bridge = newBridge(s, bridge)
	}
	return s
}

// Start starts the bridge. The caller calls it when all links are live. The bridge receives
// messages only after SetLive(true).
func (s *Set) Start() {
	if s.bridge != nil {
		s.bridge.start()
	}
}

// SetLive sets whether the namespace is open.
func (s *Set) SetLive(on bool) { s.live.Store(on) }

// Close forwards the messages in the bridge's window, if this node leads, until ctx ends.
func (s *Set) Close(ctx context.Context) {
	if s.bridge != nil {
		s.bridge.close(ctx)
	}
}

// bridging returns the bridge if it receives messages.
func (s *Set) bridging() *bridge {
	if !s.live.Load() {
		return nil
	}
	return s.bridge
}

// Accept reports whether a broadcast that was received on one of several links must be
// delivered. It waits while an earlier broadcast of the same origin is being delivered from
// another link. The caller calls End of the Origin after the delivery.
func (s *Set) Accept(link int, b *wire.Broadcast) (*Origin, bool) {
	if b.Relay == "" {
		if br := s.bridging(); br != nil {
			br.offer(link, b)
		}
		return nil, true
	}
	mark, source, note, bridged := socketio.CutMark(b.Relay)
	if bridged {
		if own := slices.IndexFunc(s.links, func(l *Link) bool { return l.Key == source }); own >= 0 {
			if br := s.bridging(); br != nil {
				br.copied(own, link, b.Origin, note)
			}
			return nil, false // this server has received the original
		}
	}
	o := s.dedup.begin(mark)
	return o, o != nil
}

// Interrupted handles an interruption: from here on the link may miss messages. A nil err
// ends the interruption.
func (s *Set) Interrupted(link int, err error) {
	if br := s.bridging(); br != nil {
		br.interrupted(link, err)
	}
}

// ServedElsewhere reports whether this node responds on another link to a request of node
// that was received on link. A request travels on all links that both nodes share and that
// have the operation. Both nodes choose the link with the lowest key for the response.
func (s *Set) ServedElsewhere(link int, node string, op wire.Op) bool {
	for _, other := range s.links {
		if op == wire.OpEvent && other.V5 {
			continue
		}
		if other.Key < s.links[link].Key && other.has(node, s.namespace) {
			return true
		}
	}
	return false
}

// has reports whether a Go node serves a namespace on the link.
func (l *Link) has(node, namespace string) bool {
	for _, p := range l.Peers() {
		if p.ID == node {
			return serves(p, namespace)
		}
	}
	return false
}

func serves(p observe.Peer, namespace string) bool {
	return slices.Contains(p.Namespaces, namespace)
}
