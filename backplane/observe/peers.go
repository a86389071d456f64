package observe

import (
	"encoding/json"
	"time"
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

// Peers are the other servers with a namespace, at one moment.
type Peers struct {
	// List has the known peers with the namespace, sorted by id. On a broker that counts, it has only those whose
	// subscriptions the broker counts.
	List []Peer
	// Lost are the ids of known peers that the broker does not count any more. Unresponsive are those that it counts
	// although they have left, or sent no sign of life for PeerTimeout: frozen processes, and crashed ones whose
	// connections the broker has not given up. Both are sorted, and empty where the broker cannot count.
	Lost, Unresponsive []string
	// Foreign is the number of further servers that the broker counts: Node.js servers, and Crossroom nodes that have
	// not introduced themselves yet. If the broker could not count, it is the last known number.
	Foreign int
	// Counted reports that the broker counted all servers.
	Counted bool
}

// Total is the number of servers with the namespace: this node, and all of these except the lost ones.
func (p *Peers) Total() int { return 1 + len(p.List) + len(p.Unresponsive) + p.Foreign }

// Missing is a node, or several foreign peers, whose response was expected and did not come.
type Missing struct {
	// Node is its id; empty for foreign peers.
	Node string
	// Count is 1 for a named node.
	Count int
	// Reason is one of package backplane's ErrPeerLost, ErrPeerUnresponsive, ErrNoResponse, ErrNotIntroduced, ErrBusy
	// and ErrTooLarge, or wraps its ErrRefused, the context's error or the broker's error. The reason for a node whose
	// pages contradict each other is another error.
	Reason error
}

// MarshalJSON writes the fields, with the text of the reason.
func (m Missing) MarshalJSON() ([]byte, error) {
	reason := ""
	if m.Reason != nil {
		reason = m.Reason.Error()
	}
	return json.Marshal(struct {
		Node   string
		Count  int
		Reason string
	}{m.Node, m.Count, reason})
}
