package backplane

import (
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
}

// KnownPeers returns the known peers that are not known to be lost, sorted by id. It does no I/O. Servers that are not
// Crossroom nodes do not announce themselves: Namespace.Peers counts them too, where the broker can count.
func (n *Node) KnownPeers() []Peer { return peersOf(n.members.Peers()) }

func peersOf(list []membership.Peer) []Peer {
	peers := make([]Peer, len(list))
	for i, p := range list {
		peers[i] = Peer(p)
	}
	return peers
}
