package inbox

import (
	"sync"
	"time"
)

// share is the part of the time that calls of Deliver may wait for room in the long run: one in share.
const share = 4

// Waits limits how long calls of Deliver wait for room, over all inboxes that have it: those of one connection, whose
// reader makes the calls. They wait for a limit at once, and for a quarter of the time in the long run. So a slow
// receiver can delay what the reader reads for the others by no more than that, also if many receivers are slow, or if
// one of them makes room again and again.
//
// All methods are safe for concurrent use. Calls that wait at the same time count once.
type Waits struct {
	limit time.Duration

	mu      sync.Mutex
	left    time.Duration // at the time at
	at      time.Time
	waiting int // calls that wait now
}

// NewWaits returns a full budget.
func NewWaits(limit time.Duration) *Waits { return &Waits{limit: limit, left: limit, at: time.Now()} }

// begin begins a wait and returns how long it may be. The caller must call end.
func (w *Waits) begin() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	w.waiting++
	return w.left
}

// end ends a wait.
func (w *Waits) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	w.waiting--
}

// settle brings left up to date. The caller holds mu.
func (w *Waits) settle() {
	now := time.Now()
	elapsed := now.Sub(w.at)
	w.at = now
	if w.waiting > 0 {
		w.left = max(0, w.left-elapsed)
	} else {
		w.left = min(w.limit, w.left+elapsed/(share-1))
	}
}
