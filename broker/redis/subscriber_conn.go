package redisbroker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// run keeps a connection open, while one is needed, until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	server := &picker{nodes: s.nodes, use: forSubscribing}
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	var outages outageLog
	for ctx.Err() == nil {
		if !s.isNeeded() {
			select {
			case <-s.work:
			case <-ctx.Done():
			}
			continue
		}
		next := pause.Next
		c, err := server.dial(ctx, s.opts.ProbeTimeout)
		if err == nil {
			err = s.serve(ctx, c, &outages)
			server.left(err)
			if c.cause == errFinished {
				continue
			}
			lasted := time.Since(c.born)
			next = func() time.Duration { return pause.Lost(lasted) }
		}
		if ctx.Err() != nil {
			break
		}
		outages.warn(s.log, "redis broker: not subscribed", err)
		if s.interrupt(err) {
			select {
			case <-time.After(next()):
			case <-ctx.Done():
			}
		} else {
			pause.Reset()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.disconnected(func(*subscription) {}) // wakes calls that wait for a reply of the server
}

func (s *subscriber) isNeeded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reg.needed()
}

// hangUp reports whether the connection is not needed any more. If it is not, later Subscribe calls
// wait for the next connection.
func (s *subscriber) hangUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reg.needed() {
		return false
	}
	s.reg.disconnected(func(*subscription) {})
	return true
}

// reasonWait is how long, in addition to the first pause, receivers wait for the reason of a lost
// connection. A server often gives the reason only when it refuses the next connection.
const reasonWait = 250 * time.Millisecond

// interrupt records that the connection was lost, and reports whether any subscription needs a
// new one. If none does, the running Subscribe calls return the error at once.
//
// Receivers get the reason. A server that closes a connection gives none, but usually refuses the
// next connection with it: the password is wrong, or a channel is not allowed any more. Therefore
// interrupt waits for the next attempt, for a short time, before it reports.
func (s *subscriber) interrupt(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.disconnected(func(u *subscription) { u.unreported = err })
	s.changed()
	switch {
	case isReason(err):
		s.reg.report(err)
	case !closedWithoutReason(err): // such as a broken link: the server has no other reason
		s.reg.report(nil)
	case s.late == nil:
		s.late = time.AfterFunc(s.opts.BackoffMin+reasonWait, s.reportLate)
	}
	if s.reg.down() {
		if s.outage == nil {
			s.outage = make(chan struct{})
		}
		return true
	}
	for r := range s.reg.requests {
		s.reg.fail(r, err)
	}
	return false
}

// reportLate reports interruptions whose reason did not become known in time.
func (s *subscriber) reportLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = nil
	s.reg.report(nil)
}

// serve uses a connection until it breaks, and returns the cause.
func (s *subscriber) serve(ctx context.Context, c *conn, outages *outageLog) error {
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	s.mu.Lock()
	s.reg.connected()
	s.changed()
	s.mu.Unlock()
	outages.info(s.log, "redis broker: connected for subscribing", c.addr)

	var reading sync.WaitGroup
	reading.Go(func() { c.close(s.read(c)) })
	s.write(c)
	reading.Wait()
	return c.lost()
}

// write sends the registry's commands until the connection is closed. It closes the connection
// itself if the server is unresponsive, or does not belong to the fleet any more.
func (s *subscriber) write(c *conn) {
	alive := liveness{interval: s.opts.ProbeInterval, timeout: s.opts.ProbeTimeout, examined: time.Now()}
	timer := time.NewTimer(alive.interval)
	defer timer.Stop()
	examine := func() error {
		if s.hangUp() {
			return errFinished
		}
		s.mu.Lock()
		for _, command := range c.exam.commands {
			s.reg.sent.Push(&order{command: command[0], exam: true})
		}
		s.mu.Unlock()
		_, err := c.write(c.exam.encoded, s.opts.ProbeTimeout)
		return err
	}
	var buf []byte
	for {
		buf = s.orders(buf[:0])
		if len(buf) > 0 {
			if _, err := c.write(buf, s.opts.ProbeTimeout); err != nil {
				c.close(err)
				return
			}
			continue
		}
		if !alive.await(c, s.work, timer, examine) {
			return
		}
	}
}

// orders encodes the commands that can be sent now.
func (s *subscriber) orders(buf []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := s.reg.nextOrder(); o != nil; o = s.reg.nextOrder() {
		buf = appendHeader(buf, '*', 1+len(o.entries))
		buf = appendHeader(buf, '$', len(o.command))
		buf = append(buf, o.command...)
		buf = append(buf, '\r', '\n')
		for _, e := range o.entries {
			buf = appendHeader(buf, '$', len(e.name))
			buf = append(buf, e.name...)
			buf = append(buf, '\r', '\n')
		}
	}
	return buf
}

// read handles frames until the connection breaks, and returns the cause.
func (s *subscriber) read(c *conn) error {
	f := frame{resp3: c.resp3}
	for {
		if err := readFrame(c.r, &f); err != nil {
			return err
		}
		if f.kind == frameMessage || f.kind == framePMessage {
			if err := s.message(c, &f); err != nil {
				return err
			}
			continue
		}
		if err := s.answer(c, &f); err != nil {
			return err
		}
	}
}

// answer handles a frame that is not a message.
func (s *subscriber) answer(c *conn, f *frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch {
	case f.kind == frameSubscribed || f.kind == frameUnsubscribed:
		err = s.reg.confirmed(f.kind == frameSubscribed, f.name)
	case f.kind == frameError && !s.reg.examining():
		known := s.reg.kept != nil
		err = s.reg.refused(f.err)
		if !known && s.reg.kept != nil {
			s.log.Warn("redis broker: cannot unsubscribe: the server continues to send these messages and to count this node as a subscriber", "err", s.reg.kept)
		}
	default:
		if err = s.reg.examined(); err == nil {
			err = s.nodes.answered(c, f.answer())
		}
	}
	s.changed()
	s.recovered()
	s.retry()
	if s.reg.todo.Len() > 0 {
		lifecycle.Raise(s.work)
	}
	return err
}

// retry starts the timer that requests the refused names again after a pause. mu is held.
func (s *subscriber) retry() {
	switch {
	case len(s.reg.denied) == 0:
		if s.denied {
			s.denied = false
			s.pause.Reset()
			s.log.Info("redis broker: subscribed again to what was refused")
		}
		return
	case !s.denied:
		s.denied = true
		s.log.Warn("redis broker: not subscribed to all filters", "err", s.reg.denial)
	}
	if s.again == nil {
		s.again = time.AfterFunc(s.pause.Next(), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.again = nil
			s.reg.retryDenied(false)
			lifecycle.Raise(s.work)
		})
	}
}

// recovered ends the outage if no subscription is interrupted any more. mu is held.
func (s *subscriber) recovered() {
	if s.outage != nil && !s.reg.down() {
		close(s.outage)
		s.outage = nil
	}
}

// interrupted returns a channel that is closed when all subscriptions are live again. It returns
// nil if they are.
func (s *subscriber) interrupted() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outage
}

// outageLog logs the beginning of an outage, each different reason that the server gives for it,
// and its end.
type outageLog struct {
	logged bool
	code   string // the server's code in the last line; empty if it had none
}

func (l *outageLog) warn(log *slog.Logger, text string, err error) {
	var refused *ServerError
	code := ""
	if errors.As(err, &refused) {
		code = refused.Code()
	}
	if !l.logged || code != "" && code != l.code {
		log.Warn(text, "err", err)
	}
	l.logged, l.code = true, code
}

func (l *outageLog) info(log *slog.Logger, text, addr string) {
	*l = outageLog{}
	log.Info(text, "addr", addr)
}
