// Package backoff computes the pauses between attempts to connect to a server.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff returns random pauses below a limit that doubles from Min to Max. It is for one goroutine.
type Backoff struct {
	Min, Max time.Duration // Min > 0
	attempt  int
	limit    time.Duration
}

// Next returns the pause before the next attempt.
func (b *Backoff) Next() time.Duration {
	b.limit = b.Max
	// The comparison comes before the shift, so that the shift cannot overflow.
	if b.attempt < 32 && b.Min <= b.Max>>b.attempt {
		b.limit = b.Min << b.attempt
	}
	b.attempt++
	return 1 + rand.N(b.limit)
}

// Lost returns the pause before the first attempt after a connection that lasted for the given time. It is zero, unless
// the connection was short: less than twice the limit of the last pause, or twice Min.
func (b *Backoff) Lost(lasted time.Duration) time.Duration {
	if lasted < min(2*max(b.limit, b.Min), b.Max) {
		return b.Next()
	}
	b.Reset()
	return 0
}

// Spread returns the longest pause of other nodes that began at the same time: the limit of the pause that Next would
// return now. It is zero before the first pause.
func (b *Backoff) Spread() time.Duration {
	if b.limit > b.Max/2 { // doubling might overflow
		return b.Max
	}
	return 2 * b.limit
}

// Reset restarts at the smallest pause.
func (b *Backoff) Reset() { b.attempt, b.limit = 0, 0 }
