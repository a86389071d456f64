package redisbroker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestPulse(t *testing.T) {
	now := time.Now()
	p := liveness{interval: time.Second, timeout: 3 * time.Second, asked: now}
	for _, row := range []struct {
		after, silent, again time.Duration
		pending, ask, dead   bool
	}{
		{after: 0, silent: 0, again: 1000},
		{after: 400, silent: 400, again: 600},
		{after: 300, silent: 0, again: 300}, // messages do not put an examination off
		{after: 300, silent: 0, again: 1000, ask: true},
		{after: 1000, silent: 1000, again: 1000, pending: true},
		{after: 1000, silent: 2000, again: 1000, pending: true},
		{after: 500, silent: 2500, again: 500, pending: true},
		{after: 100, silent: 100, again: 1000, pending: true}, // a message before the answer
		{after: 100, silent: 0, again: 1000, ask: true},       // after the answer
		{after: 2999, silent: 5000, again: 1, pending: true},  // silence from before it was asked does not count
		{after: 1, silent: 5001, pending: true, dead: true},
	} {
		now = now.Add(row.after * time.Millisecond)
		again, ask, dead := p.check(now, row.silent*time.Millisecond, row.pending)
		assert.Equal(t, row.again*time.Millisecond, again, "%+v", row)
		assert.Equal(t, row.ask, ask, "%+v", row)
		assert.Equal(t, row.dead, dead, "%+v", row)
	}
}

// TestPulseInterval: a server that answers at once is asked once in every interval.
func TestPulseInterval(t *testing.T) {
	start := time.Now()
	p := liveness{interval: time.Second, timeout: 3 * time.Second, asked: start}
	asked := 0
	for now := start; now.Before(start.Add(10*time.Second + time.Millisecond)); {
		again, ask, _ := p.check(now, 0, false)
		if ask {
			asked++
		}
		now = now.Add(again)
	}
	assert.Equal(t, 10, asked, "asked in 10 s")
}
