package redisbroker

import (
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	p := pulse{interval: time.Second, timeout: 3 * time.Second}
	now := time.Now()
	for _, row := range []struct {
		after, silent, again time.Duration
		ask, dead            bool
	}{
		{0, 0, time.Second, false, false},
		{time.Second, 400 * time.Millisecond, 600 * time.Millisecond, false, false},
		{600 * time.Millisecond, time.Second, 3 * time.Second, true, false},
		{time.Second, 2 * time.Second, 2 * time.Second, false, false},
		{2 * time.Second, 100 * time.Millisecond, 900 * time.Millisecond, false, false}, // it answered
		{time.Second, 1100 * time.Millisecond, 3 * time.Second, true, false},
		// It answered, and has been silent again since.
		{3 * time.Second, 2999 * time.Millisecond, 3 * time.Second, true, false},
		{3 * time.Second, 5999 * time.Millisecond, 0, false, true},
	} {
		now = now.Add(row.after)
		if again, ask, dead := p.check(now, row.silent); again != row.again || ask != row.ask || dead != row.dead {
			t.Fatalf("silent for %v: %v %v %v", row.silent, again, ask, dead)
		}
	}
}

// A connection that ended in silence says once where it was.
func TestSilenceSaysWhereOnce(t *testing.T) {
	c := &conn{addr: "h:1", cause: &SilenceError{Addr: "h:1", For: time.Second}}
	if got := c.lost().Error(); got != "redis h:1: no answer for 1s" {
		t.Error(got)
	}
}
