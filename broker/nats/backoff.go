package natsbroker

import (
	"math/rand/v2"
	"time"
)

// backoff makes the pauses between attempts: exponential with full jitter.
type backoff struct {
	min, max time.Duration
	attempt  int
	limit    time.Duration // of the last pause, zero if there was none
}

// next returns the pause before the next attempt.
func (b *backoff) next() time.Duration {
	b.limit = b.max
	// Compared before shifting, so that nothing overflows.
	if b.attempt < 32 && b.min <= b.max>>b.attempt {
		b.limit = b.min << b.attempt
	}
	b.attempt++
	return rand.N(b.limit + 1)
}

// reset begins again at the smallest pause.
func (b *backoff) reset() { b.attempt, b.limit = 0, 0 }
