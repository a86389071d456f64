package membership

import (
	"hash/maphash"
	"time"
)

// Anybody who may publish on the control channel can make up nodes, and speak in the name of
// others. What only a node itself hears is its own channel. So each node sends a token there,
// and the other gives it back: that proves that it listens. Until then it is a stranger,
// which is not waited for, not listed, not watched, and forgotten after PeerTimeout, whatever
// comes in its name. It also takes the place of no peer that has proved itself.

const (
	// maxStrangers limits the strangers that are remembered. The one that was known for the
	// longest time makes room for the next.
	maxStrangers = 1024
	// maxStrange limits the memory for the names of all of them, in bytes.
	maxStrange = 4 << 20
	// maxStrangerAsks is how many strangers are asked for their token and list in four times
	// the time for introductions, which is a second by default.
	maxStrangerAsks = 64
)

// proofs is what a node knows of strangers. table.mu guards it.
type proofs struct {
	seed      maphash.Seed
	strangers int // how many are known
	strange   int // memory of their lists, in bytes
	asked     int // how many strangers were asked since askedFrom
	askedFrom time.Time
}

// token is what a node must give back. It has always 9 bytes in a frame.
func (t *table) token(id string) uint64 { return maphash.String(t.seed, id) | 1<<63 }

// tokens returns what a frame to a node has: its token, and the one that it wants back.
func (t *table) tokens(id string) (token, echo uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.byID[id]; p != nil {
		echo = p.theirs
	}
	return t.token(id), echo
}

// stranger reports whether a peer has not proved itself. Of one that was only mentioned
// nothing has come that could be forged.
func (p *peer) stranger() bool { return !p.proved && p.since != 0 }

// prove notes that a peer has proved itself. t.mu is held.
func (t *table) prove(p *peer) {
	now := time.Now()
	p.proved, p.watch = true, watch{since: now}
	if p.asked.After(now) { // its list was refused while it was a stranger
		p.asked = time.Time{}
	}
	t.strangers--
	t.strange -= p.kept
}

// mayAskStranger reports whether one more stranger may be asked now. t.mu is held.
func (t *table) mayAskStranger(now time.Time) bool {
	if now.Sub(t.askedFrom) >= 4*t.introTime {
		t.asked, t.askedFrom = 0, now
	}
	t.asked++
	return t.asked <= maxStrangerAsks
}

// pursue asks a stranger again from time to time. t.mu is held.
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

// makeRoom forgets the stranger that was known for the longest time, if there are too many.
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
