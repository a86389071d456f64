// Package multilink has what a namespace needs that is on several links, prefixes or
// brokers, at once: it takes each message once (Dedup), makes one result of several
// (Merge), and passes on what is heard on one link only (BridgeOptions). It knows no
// sockets, and nothing of how one link is spoken on.
package multilink

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
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
	Peers func() []backplane.Peer

	// Core is the namespace there, and Except what is to be left out of a broadcast in a form
	// that all servers of the link understand. Both are set before Set.Start.
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

// Start begins passing on, once all links are live. Nothing is taken in for that before
// SetLive.
func (s *Set) Start() {
	if s.bridge != nil {
		s.bridge.start()
	}
}

// SetLive says whether the namespace is open.
func (s *Set) SetLive(on bool) { s.live.Store(on) }

// Close passes on what waits, if this node does that, until ctx ends.
func (s *Set) Close(ctx context.Context) {
	if s.bridge != nil {
		s.bridge.close(ctx)
	}
}

// bridging returns the bridge if it takes in messages.
func (s *Set) bridging() *bridge {
	if !s.live.Load() {
		return nil
	}
	return s.bridge
}

// Hear looks at a broadcast that came in on one of several links, before it is
// delivered; false means that it is not to be. It waits while an earlier one of the same
// origin is being delivered from another link. The caller calls End of the Origin when the
// delivery has ended.
func (s *Set) Hear(link int, b *wire.Broadcast) (*Origin, bool) {
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
			return nil, false // this server has heard the original
		}
	}
	o := s.dedup.begin(mark)
	return o, o != nil
}

// Interrupted takes in that a link may miss messages from here on, or with nil that this
// has ended.
func (s *Set) Interrupted(link int, err error) {
	if br := s.bridging(); br != nil {
		br.interrupted(link, err)
	}
}

// Elsewhere reports whether a request of that node, which came in on a link, comes in on
// another link too and is to be answered there: both nodes choose, of the links
// that they share and on which the operation travels, the one with the lowest key.
func (s *Set) Elsewhere(link int, node string, op wire.Op) bool {
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

func serves(p backplane.Peer, namespace string) bool {
	return slices.Contains(p.Namespaces, namespace)
}
