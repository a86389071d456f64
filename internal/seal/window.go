package seal

import "sync"

// window remembers the messages of all signers for as long as their times let them pass again. Only holders of a key
// can make it remember anything.
type window struct {
	mu sync.Mutex
	// now has the signers that were heard since turned, and old those that were heard in the time before. Others are
	// forgotten.
	now, old map[[8]byte]*signer
	turned   int64
	words    int // of all rings
}

const (
	// period is for how long a message may pass: from its arrival out of the future of a signer whose clock is ahead.
	period = 2 * int64(MaxAge/1e6)

	// maxSigners is how many signers are heard in a period at most. More begin the next period early.
	maxSigners = 8192
	// A ring has at least firstWords, for 4,032 messages, and at most maxWords, for 4,194,240. All rings have at most
	// allWords, which are 64 MiB.
	firstWords = 64
	maxWords   = 1 << 16
	allWords   = 8 << 20
)

// signer is what is remembered of one signer: a bit for each of its last messages, by their counters.
type signer struct {
	high uint64 // the highest counter
	ring []uint64
	// Of messages up to lost nothing is known.
	lost uint64
	// Messages up to aged are too old to pass. Those up to mark were there at the time marked.
	aged, mark uint64
	marked     int64
}

// fresh reports whether a message is new, and remembers it. now is in milliseconds.
func (w *window) fresh(id [8]byte, counter uint64, now int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.signer(id, counter, now)
	if counter <= s.high {
		if counter <= s.lost || s.high-counter >= s.span() {
			return false
		}
		word, bit := s.at(counter)
		seen := *word&bit != 0
		*word |= bit
		return !seen
	}
	w.advance(s, counter, now)
	word, bit := s.at(counter)
	*word |= bit
	return true
}

// signer returns what is remembered of a signer. Its first message is about to be noted if it is unknown.
func (w *window) signer(id [8]byte, counter uint64, now int64) *signer {
	if w.turned = min(w.turned, now); w.now == nil || now-w.turned >= period || len(w.now) >= maxSigners {
		for _, s := range w.old {
			w.words -= len(s.ring)
		}
		w.now, w.old, w.turned = make(map[[8]byte]*signer), w.now, now
	}
	s := w.now[id]
	if s != nil {
		return s
	}
	if s = w.old[id]; s != nil {
		delete(w.old, id)
	} else {
		s = &signer{ring: make([]uint64, firstWords), marked: now}
		w.words += firstWords
		if before := s.span() - 1; counter > before { // it was there before this node
			s.high, s.aged, s.mark = counter-1, counter-before, counter-before
		}
	}
	w.now[id] = s
	return s
}

// advance moves a signer's ring on to a higher counter.
func (w *window) advance(s *signer, counter uint64, now int64) {
	if now-s.marked >= period {
		s.aged, s.mark, s.marked = s.mark, s.high, now
	}
	for counter-s.aged > s.span() && len(s.ring) < maxWords && w.words+len(s.ring) <= allWords {
		w.words += len(s.ring)
		s.grow()
	}
	first, last := s.high>>6+1, counter>>6
	if last-first >= uint64(len(s.ring)) && last >= first {
		clear(s.ring)
	} else {
		for n := first; n <= last; n++ {
			s.ring[n&uint64(len(s.ring)-1)] = 0
		}
	}
	s.high = counter
}

// grow doubles a ring.
func (s *signer) grow() {
	ring := make([]uint64, 2*len(s.ring))
	last := s.high >> 6
	if span := s.span(); s.high > span {
		s.lost = max(s.lost, s.high-span)
	}
	for i := range min(uint64(len(s.ring)), last+1) {
		n := last - i
		ring[n&uint64(len(ring)-1)] = s.ring[n&uint64(len(s.ring)-1)]
	}
	s.ring = ring
}

// span is how many counters a ring is sure to have, the highest included: one word is in part of the next round.
func (s *signer) span() uint64 { return uint64(len(s.ring)-1) << 6 }

// at returns where the bit of a counter is.
func (s *signer) at(counter uint64) (word *uint64, bit uint64) {
	return &s.ring[counter>>6&uint64(len(s.ring)-1)], 1 << (counter & 63)
}
