package redisbroker

import "time"

// liveness decides when a connection's server is examined and when the connection is given
// up, because no answer comes.
type liveness struct {
	interval, timeout time.Duration
	asked             time.Time // the last examination, or when the connection was opened
}

// check looks at how long a connection has been silent by now, and at whether an
// examination is underway. It returns when to look again, and whether to ask now; or
// that the connection is dead.
func (p *liveness) check(now time.Time, silent time.Duration, pending bool) (again time.Duration, ask, dead bool) {
	since := now.Sub(p.asked)
	switch {
	case pending:
		// What came since then is a sign of life, if not an answer: messages stand
		// before it.
		if left := p.timeout - min(silent, since); left > 0 {
			return min(left, p.interval), false, false
		}
		return 0, false, true
	case since < p.interval:
		return p.interval - since, false, false
	}
	p.asked = now
	return min(p.interval, p.timeout), true, false
}

// await waits until there is work for the writer of a connection, and keeps an eye on
// it meanwhile: once in every interval ask examines the server, and if no answer comes,
// or ask fails, the connection is closed. It returns false when it is closed.
func (p *liveness) await(c *conn, work <-chan struct{}, timer *time.Timer, ask func() error) bool {
	select {
	case <-work:
		return true
	case <-c.done:
		return false
	case <-timer.C:
	}
	silent := c.silent()
	again, now, dead := p.check(time.Now(), silent, c.pending.Load())
	var err error
	switch {
	case dead:
		err = timedOut(c.addr, silent)
	case now:
		c.pending.Store(true)
		err = ask()
	}
	if err != nil {
		c.close(err)
		return false
	}
	timer.Reset(again)
	return true
}
