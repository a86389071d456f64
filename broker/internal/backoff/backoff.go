// Package backoff makes the pauses between attempts to reach a server.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff makes pauses at random below a limit that doubles from Min to Max. It is for
// one goroutine.
type Backoff struct {
	Min, Max time.Duration // Min > 0
	attempt  int
	limit    time.Duration
}

// Next returns the pause before the next attempt.
func (b *Backoff) Next() time.Duration {
	b.limit = b.Max
	// Compared before shifting, so that nothing overflows.
	if b.attempt < 32 && b.Min <= b.Max>>b.attempt {
		b.limit = b.Min << b.attempt
	}
	b.attempt++
	return 1 + rand.N(b.limit)
}

// Spread returns how long others may pause who began when this one did: the limit of
// what Next would return now. It is zero before the first pause.
func (b *Backoff) Spread() time.Duration {
	if b.limit > b.Max/2 { // twice as much might overflow
		return b.Max
	}
	return 2 * b.limit
}

// Reset begins again at the smallest pause.
func (b *Backoff) Reset() { b.attempt, b.limit = 0, 0 }
