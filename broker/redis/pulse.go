package redisbroker

import "time"

// pulse decides when a silent connection is asked for a sign of life and when it is
// given up.
type pulse struct {
	interval, timeout time.Duration
	asked             time.Time // zero while no answer is awaited
}

// check looks at how long a connection has been silent by now. It returns when to look
// again, and whether to ask now; or that it is dead.
func (p *pulse) check(now time.Time, silent time.Duration) (again time.Duration, ask, dead bool) {
	if silent < now.Sub(p.asked) {
		p.asked = time.Time{} // something has come since
	}
	switch {
	case !p.asked.IsZero():
		if left := p.interval + p.timeout - silent; left > 0 {
			return left, false, false
		}
		return 0, false, true
	case silent < p.interval:
		return p.interval - silent, false, false
	}
	p.asked = now
	return p.timeout, true, false
}

// tend waits until there is work for the writer of a connection, and keeps an eye on
// it meanwhile: if it is silent for too long ask asks for a sign of life, and if none
// comes, or ask fails, it is closed. It returns false when it is closed.
func (p *pulse) tend(c *conn, work <-chan struct{}, timer *time.Timer, ask func() error) bool {
	select {
	case <-work:
		return true
	case <-c.done:
		return false
	case <-timer.C:
	}
	silent := c.silent()
	again, now, dead := p.check(time.Now(), silent)
	var err error
	switch {
	case dead:
		err = &SilenceError{Addr: c.addr, For: silent}
	case now:
		err = ask()
	}
	if err != nil {
		c.close(err)
		return false
	}
	timer.Reset(again)
	return true
}
