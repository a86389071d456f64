package backplane

import (
	"context"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// KnownPeers returns the known peers without those that left or were lost, sorted by id. It does no I/O. Servers that
// are not Crossroom nodes do not announce themselves: Namespace.Peers counts them too, where the broker can count.
func (n *Node) KnownPeers() []observe.Peer { return peersOf(n.members.Peers()) }

// AwaitPeers waits until the node knows at least that many peers and expects no introduction of another, and returns
// the known peers. With zero it waits for the nodes that are connected now: at most 250 ms, or a quarter of
// Options.RequestsTimeout if that is shorter. The error is that of the context, with the peers that are known so far,
// or ErrClosed. A node knows no peers before its first namespace is live.
func (n *Node) AwaitPeers(ctx context.Context, least int) ([]observe.Peer, error) {
	if err := wire.ContextErr(ctx); err != nil {
		return n.KnownPeers(), err
	}
	n.members.AwaitPeers(ctx, least)
	if n.life.Err() != nil {
		return nil, ErrClosed
	}
	return n.KnownPeers(), ctx.Err()
}

func peersOf(list []membership.Peer) []observe.Peer {
	peers := make([]observe.Peer, len(list))
	for i, p := range list {
		peers[i] = observe.Peer(p)
	}
	return peers
}
