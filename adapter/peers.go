package adapter

import (
	"context"

	"github.com/crossroom/crossroom/backplane"
)

// KnownPeers returns the other Go nodes that have announced themselves, each once, sorted
// by id. It asks nobody. Node.js servers do not announce themselves: Namespace.Peers
// counts them too.
func (s *Server) KnownPeers() []backplane.Peer {
	lists := make([][]backplane.Peer, len(s.links))
	for i, l := range s.links {
		lists[i] = l.node.KnownPeers()
	}
	return mergePeers(lists)
}

// Peers says which other servers hold the namespace, by asking the broker and none of
// them. A Go node on several links is there once; it is in Lost, or in
// Unresponsive, if it is so on every link that it was on.
//
// If a broker does not answer, what is known from before is returned beside the
// error: the context's as it is, or a *backplane.OpError, in a *LinkError if there are
// several links. backplane.ErrClosed comes without a value.
func (ns *Namespace) Peers(ctx context.Context) (*backplane.Peers, error) {
	return ns.fleet.peers(ctx)
}

// ServerCount returns how many servers hold the namespace, Node.js servers and this
// one included. It is what the brokers count, so a server that died without goodbye
// is among them until its connection ends; brokers that cannot count leave it at the
// Go nodes. Errors are those of Peers; beside them the number is what is known from
// before, a lower bound if the error wraps a *broker.InexactError, and zero with backplane.ErrClosed.
func (ns *Namespace) ServerCount(ctx context.Context) (int, error) {
	p, err := ns.Peers(ctx)
	if p == nil {
		return 0, err
	}
	return p.Total(), err
}
