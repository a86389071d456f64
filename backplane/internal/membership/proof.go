package membership

import (
	"hash/maphash"
	"time"
)

// A client that may publish on the control channel can invent nodes, and send frames in the
// name of other nodes. Only the real node receives frames on its own channel. Therefore each
// node sends a token to that channel, and the peer returns the token: this proves that the
// peer exists. Before that the peer is a stranger. A stranger is not waited for, not listed
// and not watched. It is forgotten after PeerTimeout, whatever frames arrive in its name, and
// it never replaces a peer that has proved itself.

const (
	// maxStrangers limits the strangers that are remembered. A new one replaces the one that
	// has been known for the longest time.
	maxStrangers = 1024
	// maxStrange limits the memory for the names of all strangers, in bytes.
	maxStrange = 4 << 20
	// maxStrangerAsks is how many strangers are asked for their token and list in four times
	// the time for introductions, which is one second by default.
	maxStrangerAsks = 64
)

// proofs is a node's state of strangers. table.mu guards it.
type proofs struct {
	seed      maphash.Seed
	strangers int // number of strangers
	strange   int // memory of their lists, in bytes
	asked     int // number of strangers that were asked since askedFrom
	askedFrom time.Time
}

// token returns the number that a node must return. It always has 9 bytes in a frame.
func (t *table) token(id string) uint64 { return maphash.String(t.seed, id) | 1<<63 }

// tokens returns the fields of a frame to a node: the token for it, and its own token.
func (t *table) tokens(id string) (token, echo uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p != nil {
		echo = p.theirs
	}
	return t.token(id), echo
}

// stranger reports whether a peer has sent frames and has not proved itself. A peer that
// other nodes only mentioned is no stranger.
func (p *peer) stranger() bool { return !p.proved && p.since != 0 }

// prove records that a peer has proved itself. t.mu is held.
func (t *table) prove(p *peer) {
	now := time.Now()
	p.proved, p.watch = true, watch{since: now}
	if p.asked.After(now) { // its list was refused while it was a stranger
		p.asked = time.Time{}
	}
	t.strangers--
	t.strange -= p.kept
	t.arrived(p)
}

// mayAskStranger reports whether one more stranger may be asked now, and counts it. t.mu is held.
func (t *table) mayAskStranger(now time.Time) bool {
	if now.Sub(t.askedFrom) >= 4*t.introTime {
		t.asked, t.askedFrom = 0, now
	}
	t.asked++
	return t.asked <= maxStrangerAsks
}

// pursue asks a stranger again after introTime. t.mu is held.
func (t *table) pursue(p *peer, now time.Time, s *survey) {
	if again := p.asked.Add(t.introTime); now.Before(again) {
		s.at(again)
		return
	}
	p.asked = now
	s.at(now.Add(t.introTime))
	if t.mayAskStranger(now) {
		s.probe = append(s.probe, p.id)
	}
}

// makeRoom forgets the stranger that has been known for the longest time, if there are most of them.
// t.mu is held.
func (t *table) makeRoom(most int) {
	if t.strangers < most {
		return
	}
	var oldest *peer
	for _, p := range t.byID {
		if p.stranger() && (oldest == nil || p.born.Before(oldest.born)) {
			oldest = p
		}
	}
	if oldest != nil {
		t.drop(oldest)
	}
}
