package membership

import (
	"cmp"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Functions for tests outside of the package.

// Audit returns the memory that is recorded for the lists of other nodes, and its sum peer by peer; a sum below zero
// means that a peer's record is wrong. dead is the number of remembered expired peers.
func (m *Membership) Audit() (kept, sum, dead int) {
	t := &m.peers
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byID {
		if p.state == expired {
			dead++
		}
		own := 0
		for ns, speaks := range p.namespaces {
			own += cost(&served{ns, speaks})
		}
		for ns := range p.closed {
			own += cost(&served{Namespace: ns})
		}
		if p.partial != nil {
			own += costs(p.partial.list)
		}
		for _, e := range p.early {
			own += costs(e.added) + costs(e.removed)
		}
		if own != p.kept {
			return t.kept, -1, 0
		}
		sum += own
	}
	return t.kept, sum, dead
}

func costs(list []served) (sum int) {
	for i := range list {
		sum += cost(&list[i])
	}
	return sum
}

// Take handles a frame like the keeper. No other frame may be pending.
func (m *Membership) Take(ch broker.Channel, payload []byte) { m.take(ch, payload) }

// ExpireAll makes all peers expire, and forgets those that are not counted by name.
func (m *Membership) ExpireAll() {
	for i := range time.Duration(5) {
		m.peers.look(time.Now().Add((i + 1) * time.Hour))
	}
}

// CompareInRing compares the places of two nodes in the ring in which they watch each other.
func CompareInRing(a, b string) int { return cmp.Compare(order(a), order(b)) }

// Proof is a frame with which a node proves itself.
func (m *Membership) Proof(id string) []byte {
	f := frame{kind: kindFull, id: id, since: 1, revision: 1, parts: 1, echo: m.peers.token(id)}
	return f.append(nil)
}

// Strange is how many nodes are known that have not proved themselves.
func (m *Membership) Strange() int {
	m.peers.mu.Lock()
	defer m.peers.mu.Unlock()
	return m.peers.strangers
}

// DecodeFrame reads a control frame as a node does.
func DecodeFrame(payload []byte) error {
	var f frame
	return f.decode(payload)
}

// RewriteFrame reads a control frame and writes what it read.
func RewriteFrame(payload []byte) ([]byte, error) {
	var f frame
	if err := f.decode(payload); err != nil {
		return nil, err
	}
	return f.append(nil), nil
}
