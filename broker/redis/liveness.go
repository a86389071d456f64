package redisbroker

import "time"

// liveness decides when the server of a connection is examined, and when the connection is
// closed because the server does not reply.
type liveness struct {
	interval, timeout time.Duration
	examined          time.Time // the last examination, or when the connection was opened
}

// check decides what to do with a connection that has been idle for some time. pending says that
// an examination is running. check returns when to check again, whether to start an examination,
// and whether the server has timed out.
func (p *liveness) check(now time.Time, idle time.Duration, pending bool) (again time.Duration, examine, dead bool) {
	since := now.Sub(p.examined)
	switch {
	case pending:
		// Bytes that arrived after the examination started prove that the server is alive,
		// even if they are not its reply: messages may come before the reply.
		if left := p.timeout - min(idle, since); left > 0 {
			return min(left, p.interval), false, false
		}
		return 0, false, true
	case since < p.interval:
		return p.interval - since, false, false
	}
	p.examined = now
	return min(p.interval, p.timeout), true, false
}

// await waits until the writer of a connection has work, and watches the connection meanwhile.
// Once in every interval it calls examine. It closes the connection if the server does not reply
// or if examine fails. It returns false when the connection is closed.
func (p *liveness) await(c *conn, work <-chan struct{}, timer *time.Timer, examine func() error) bool {
	select {
	case <-work:
		return true
	case <-c.done:
		return false
	case <-timer.C:
	}
	idle := c.idle()
	again, now, dead := p.check(time.Now(), idle, c.pending.Load())
	var err error
	switch {
	case dead:
		err = timedOut(c.addr, idle)
	case now:
		c.pending.Store(true)
		err = examine()
	}
	if err != nil {
		c.close(err)
		return false
	}
	timer.Reset(again)
	return true
}
