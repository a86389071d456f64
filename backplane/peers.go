package backplane

import (
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
)

// Peer is another Crossroom node, as it announced itself.
type Peer struct {
	ID string
	// Since it lives, by its own clock.
	Since time.Time
	// Protocol is the version of membership that it announces itself in.
	Protocol int
	// Namespaces it serves, sorted, and what it Speaks in them, such as
	// "native/1"; each once.
	Namespaces, Speaks []string
	// Suspect: it missed the deadline of a request, and has been silent for nine tenths of
	// RequestsTimeout since that was sent. It is asked, but not waited for.
	Suspect bool
}

// KnownPeers returns the other nodes that are known and not known to be dead, sorted by
// id. It asks nobody. Servers that are not Crossroom nodes do not announce themselves:
// Namespace.Peers counts them too, where the broker can count.
func (n *Node) KnownPeers() []Peer { return peersOf(n.members.Peers()) }

func peersOf(list []membership.Peer) []Peer {
	peers := make([]Peer, len(list))
	for i, p := range list {
		peers[i] = Peer(p)
	}
	return peers
}
