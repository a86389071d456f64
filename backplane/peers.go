package backplane

import (
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/broker"
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

// nodeEvents is what membership tells a node.
type nodeEvents struct{ n *Node }

func (e nodeEvents) Left(id string, from []membership.Namespace) {
	for _, ns := range e.n.live() {
		if from == nil || slices.Contains(from, ns.key()) {
			ns.requests.Lost(id)
		}
	}
}

func (e nodeEvents) Interrupted(err error) {
	e.n.reports.report(&InterruptedError{Err: err})
	if o := e.n.observe.Link; o != nil {
		e.n.observed("Interrupted", func() { o.Interrupted("", err) })
	}
}

func (e nodeEvents) Resumed(lasted time.Duration) {
	if o := e.n.observe.Link; o != nil {
		e.n.observed("Resumed", func() { o.Resumed("", lasted) })
	}
}

func (e nodeEvents) Unreadable(ch broker.Channel, err error) {
	e.n.counters.undecodable.Add(1)
	e.n.reports.report(&DecodeError{Channel: ch, Err: err})
}

func (e nodeEvents) Foreign() { e.n.counters.foreign.Add(1) }

func (e nodeEvents) Duplicate(since time.Time) {
	e.n.reports.report(&OpError{Op: "announce", Name: e.n.id, Err: fmt.Errorf("%w, and runs since %s", ErrDuplicateID, since.Format(time.RFC3339Nano))})
}

func (e nodeEvents) Overflowed() { e.n.counters.membershipLost.Add(1) }

func (e nodeEvents) Incomplete(lost, refused int) {
	e.n.counters.membershipLost.Add(uint64(refused))
	e.n.reports.report(&MembershipError{Lost: lost, Refused: refused})
}

func (e nodeEvents) Unsent(err error) { e.n.reports.report(err) }
