package adapter

import (
	"context"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// KnownPeers returns the other Go nodes that have announced themselves, each once, sorted by id. It does no I/O.
// Node.js servers do not announce themselves: Namespace.Peers counts them too.
func (s *Server) KnownPeers() []observe.Peer {
	lists := make([][]observe.Peer, len(s.links))
	for i, l := range s.links {
		lists[i] = l.node.KnownPeers()
	}
	return mergePeers(lists)
}

// AwaitPeers waits until the server knows at least n other Go nodes and expects no introduction of another, and returns
// the known ones, as KnownPeers does. With n zero it waits for the nodes that are connected now: at most 250 ms, or a
// quarter of RequestsTimeout if that is shorter. The error is that of the context, with the nodes that are known so
// far, or backplane.ErrClosed. A server knows no nodes before its first namespace is live.
func (s *Server) AwaitPeers(ctx context.Context, n int) ([]observe.Peer, error) {
	if ctx == nil {
		return nil, backplane.ErrNilContext
	}
	if len(s.links) == 1 {
		return s.links[0].node.AwaitPeers(ctx, n)
	}
	for _, l := range s.links {
		if _, err := l.node.AwaitPeers(ctx, 0); err != nil {
			return s.KnownPeers(), err
		}
	}
	for {
		turn, end := context.WithCancel(ctx) // ends with ctx, with the server, and when a link's peers change
		context.AfterFunc(s.ctx, end)
		for _, l := range s.links {
			go func(changed <-chan struct{}) {
				defer end()
				select {
				case <-changed:
				case <-turn.Done():
				}
			}(l.door.PeersChanged())
		}
		peers := s.KnownPeers()
		if len(peers) < n {
			<-turn.Done()
		}
		end()
		switch {
		case len(peers) >= n:
			return peers, nil
		case s.ctx.Err() != nil:
			return nil, backplane.ErrClosed
		case ctx.Err() != nil:
			return peers, ctx.Err()
		}
	}
}

// Peers returns the other servers with the namespace. It queries the broker, but none of the servers. A Go node on
// several links is listed once: in List if it is in that of any link, else in Unresponsive if it is in that of any link,
// else in Lost.
//
// If a broker does not respond, Peers returns the last known state with the error: the context's error unwrapped, or a
// *backplane.OpError, in a *LinkError if there are several links. If the *backplane.OpError wraps a *broker.InexactError
// or backplane.ErrNotIntroduced, servers may be missing from the value. backplane.ErrClosed comes without a value.
func (ns *Namespace) Peers(ctx context.Context) (*observe.Peers, error) {
	if ctx == nil {
		return nil, backplane.ErrNilContext
	}
	return ns.fleet.peers(ctx)
}

// ServerCount returns the number of servers with the namespace, including Node.js servers and this one. The brokers
// count them, so a server that crashed without goodbye counts until its connection ends. On brokers that cannot count
// it is the number of Go nodes. Errors are those of Peers. With an error the number is the last known one, or a
// lower bound; zero with backplane.ErrClosed.
func (ns *Namespace) ServerCount(ctx context.Context) (int, error) {
	p, err := ns.Peers(ctx)
	if p == nil {
		return 0, err
	}
	return p.Total(), err
}
