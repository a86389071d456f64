package backplane

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
)

// Peer is another Crossroom node, as it announced itself.
type Peer struct {
	ID string
	// Since is the start of the node, by its own clock.
	Since time.Time
	// Protocol is the version of its membership messages.
	Protocol int
	// Namespaces of the node, sorted, and the codecs that it Speaks in them, such as "native/1"; each once.
	Namespaces, Speaks []string
	// Suspect means that the node missed the deadline of a request, and sent no sign of life for nine tenths of
	// RequestsTimeout since that request. It still gets requests, but they do not wait for it.
	Suspect bool
	// Leaving means that the node drains: it has announced that it is about to leave (Node.Drain). It still serves its
	// namespaces. Do not send it new clients.
	Leaving bool
}

// KnownPeers returns the known peers that are not known to be lost, sorted by id. It does no I/O. Servers that are not
// Crossroom nodes do not announce themselves: Namespace.Peers counts them too, where the broker can count.
func (n *Node) KnownPeers() []Peer { return peersOf(n.members.Peers()) }

// AwaitPeers waits until the node knows at least that many peers and expects no introduction of another, and returns the known
// peers. With zero it waits for the nodes that are connected now: at most 250 ms, or a quarter of
// Options.RequestsTimeout if that is shorter. The error is that of the context, with the peers that are known so far,
// or ErrClosed. A node knows no peers before its first namespace is live.
func (n *Node) AwaitPeers(ctx context.Context, least int) ([]Peer, error) {
	if err := ctx.Err(); err != nil {
		return n.KnownPeers(), err
	}
	n.members.AwaitPeers(ctx, least)
	if n.life.Err() != nil {
		return nil, ErrClosed
	}
	return n.KnownPeers(), ctx.Err()
}

func peersOf(list []membership.Peer) []Peer {
	peers := make([]Peer, len(list))
	for i, p := range list {
		peers[i] = Peer(p)
	}
	return peers
}
