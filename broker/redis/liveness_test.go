package redisbroker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLiveness(t *testing.T) {
	now := time.Now()
	p := liveness{interval: time.Second, timeout: 3 * time.Second, examined: now}
	for _, row := range []struct {
		after, idle, again     time.Duration
		pending, examine, dead bool
	}{
		{after: 0, idle: 0, again: 1000},
		{after: 400, idle: 400, again: 600},
		{after: 300, idle: 0, again: 300}, // messages do not delay an examination
		{after: 300, idle: 0, again: 1000, examine: true},
		{after: 1000, idle: 1000, again: 1000, pending: true},
		{after: 1000, idle: 2000, again: 1000, pending: true},
		{after: 500, idle: 2500, again: 500, pending: true},
		{after: 100, idle: 100, again: 1000, pending: true}, // a message before the reply
		{after: 100, idle: 0, again: 1000, examine: true},   // after the reply
		{after: 2999, idle: 5000, again: 1, pending: true},  // idle time before the examination does not count
		{after: 1, idle: 5001, pending: true, dead: true},
	} {
		now = now.Add(row.after * time.Millisecond)
		again, examine, dead := p.check(now, row.idle*time.Millisecond, row.pending)
		assert.Equal(t, row.again*time.Millisecond, again, "%+v", row)
		assert.Equal(t, row.examine, examine, "%+v", row)
		assert.Equal(t, row.dead, dead, "%+v", row)
	}
}

// TestLivenessInterval: a server that replies at once is examined once in every interval.
func TestLivenessInterval(t *testing.T) {
	start := time.Now()
	p := liveness{interval: time.Second, timeout: 3 * time.Second, examined: start}
	examined := 0
	for now := start; now.Before(start.Add(10*time.Second + time.Millisecond)); {
		again, examine, _ := p.check(now, 0, false)
		if examine {
			examined++
		}
		now = now.Add(again)
	}
	assert.Equal(t, 10, examined, "examinations in 10 s")
}
