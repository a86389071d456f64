package membership

import "time"

// Standing is the relation of a peer to a namespace.
type Standing uint8

const (
	// Elsewhere: it is live and does not serve the namespace, or did not when it left.
	Elsewhere Standing = iota
	// Uncertain: it is live and may serve the namespace. Its list is outdated.
	Uncertain
	// Serves: it is live and serves the namespace.
	Serves
	// Suspect: it serves the namespace, and sent no sign of life for SilenceLimit since a request whose deadline it
	// missed.
	Suspect
	// Leaving: it has left the namespace or the fleet less than IntroTime ago.
	Leaving
	// Left: it has left longer ago.
	Left
	// Expired: it served the namespace, and sent no sign of life for PeerTimeout.
	Expired
)

// Serving reports whether the peer is known to serve the namespace.
func (s Standing) Serving() bool { return s == Serves || s == Suspect }

// PeerView is a peer as a namespace sees it.
type PeerView struct {
	ID       string
	Standing Standing
	// Until is when a peer that missed a deadline becomes Suspect, unless it sends a sign of life; zero for others.
	Until time.Time
}

// View is the knowledge of a namespace at one moment.
type View struct {
	Peers []PeerView // all known peers
	// Greeting: unknown peers may exist. This node is cut off, not all have responded to its greeting, or some were
	// refused.
	Greeting bool
}

// where looks up the peers of a namespace.
func (t *table) where(ns Namespace) (v View) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	v.Greeting = t.down.Load() || !t.pending(now).IsZero() && t.until.After(now) || now.Sub(t.full) < t.peerTimeout
	v.Peers = make([]PeerView, 0, len(t.byID))
	for id, p := range t.byID {
		peer := PeerView{ID: id, Standing: t.standing(p, ns, now)}
		if peer.Standing == Serves && !p.missed.IsZero() {
			peer.Until = p.missed.Add(t.silenceLimit())
		}
		v.Peers = append(v.Peers, peer)
	}
	return v
}

func (t *table) standing(p *peer, ns Namespace, now time.Time) Standing {
	_, serves := p.namespaces[ns]
	since, closed := p.closed[ns]
	if p.state == left {
		since, closed = p.leftAt, serves
	}
	switch {
	case p.state == live && p.stranger():
		return Elsewhere // if it is counted, it is asked all the same
	case closed && p.state != expired && now.Sub(since) < t.introTime:
		return Leaving
	case closed && p.state != expired:
		return Left
	case p.state == expired:
		return Expired // if it is counted all the same, it is a frozen process, not a foreign peer
	case serves && t.suspect(p, now):
		return Suspect
	case serves:
		return Serves
	case p.state == live && (!p.known() || !p.stale.IsZero()):
		return Uncertain
	}
	return Elsewhere
}

// departed reports whether a node is known to have left a namespace.
func (t *table) departed(id string, key Namespace) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.byID[id]
	if p == nil {
		return false
	}
	_, serves := p.namespaces[key]
	_, closed := p.closed[key]
	return closed || serves && p.state != live
}
