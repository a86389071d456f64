package redisbroker

import (
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	now := time.Now()
	p := pulse{interval: time.Second, timeout: 3 * time.Second, asked: now}
	for _, row := range []struct {
		after, silent, again time.Duration
		pending, ask, dead   bool
	}{
		{after: 0, silent: 0, again: 1000},
		{after: 400, silent: 400, again: 600},
		{after: 300, silent: 0, again: 300}, // messages do not put an examination off
		{after: 300, silent: 0, again: 3000, ask: true},
		{after: 1000, silent: 1000, again: 2000, pending: true},
		{after: 500, silent: 100, again: 2900, pending: true}, // a message before the answer
		{after: 100, silent: 0, again: 900 - 1500 + 500, pending: false, ask: true},
		{after: 2999, silent: 5000, again: 1, pending: true}, // silence from before it was asked does not count
		{after: 1, silent: 5001, pending: true, dead: true},
	} {
		now = now.Add(row.after * time.Millisecond)
		again, ask, dead := p.check(now, row.silent*time.Millisecond, row.pending)
		if row.ask {
			row.again = 3000
		}
		if again != row.again*time.Millisecond || ask != row.ask || dead != row.dead {
			t.Errorf("%+v: again in %v, ask %v, dead %v", row, again, ask, dead)
		}
	}
}
