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

// run keeps the connection until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	server := &picker{nodes: s.nodes, use: forSubscribing}
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	var told outageLog
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
			err = s.serve(ctx, c, &told)
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
		told.warn(s.log, "redis broker: not subscribed", err)
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
	s.reg.disconnected(func(*subscription) {}) // those who wait for an answer of the server
}

func (s *subscriber) isNeeded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reg.needed()
}

// hangUp reports whether the connection is of no use any more. If so, whoever
// subscribes from now on waits for the next one.
func (s *subscriber) hangUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reg.needed() {
		return false
	}
	s.reg.disconnected(func(*subscription) {})
	return true
}

// reasonWait is how long receivers wait for the reason why a server has closed the
// connection, if it says so when it is connected to again, besides the first pause.
const reasonWait = 250 * time.Millisecond

// interrupt notes that the connection is gone, and reports whether there is somebody to
// come back for. If there is not, those who are just subscribing get the error: at the
// start it says more than a wait.
//
// Receivers are told why. A connection that the server has closed does not say that, but
// most often the next one does: the password is wrong, or a channel is not allowed any
// more. So that one is waited for, for a short time.
func (s *subscriber) interrupt(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.disconnected(func(u *subscription) { u.unreported = err })
	s.changed()
	switch {
	case isReason(err):
		s.reg.report(err)
	case !closedWithoutReason(err): // such as a link that is down, which is not why
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
	for r := range s.reg.asking {
		s.reg.fail(r, err)
	}
	return false
}

// reportLate tells receivers of an interruption whose reason did not become known.
func (s *subscriber) reportLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = nil
	s.reg.report(nil)
}

// serve uses a connection until it breaks, and returns why.
func (s *subscriber) serve(ctx context.Context, c *conn, told *outageLog) error {
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	s.mu.Lock()
	s.reg.connected()
	s.changed()
	s.mu.Unlock()
	told.info(s.log, "redis broker: connected for subscribing", c.addr)

	var reading sync.WaitGroup
	reading.Go(func() { c.close(s.read(c)) })
	s.write(c)
	reading.Wait()
	return c.lost()
}

// write sends what the registry asks for until the connection is closed, which it
// does itself if the server does not answer, or is none of the fleet's.
func (s *subscriber) write(c *conn) {
	beat := liveness{interval: s.opts.ProbeInterval, timeout: s.opts.ProbeTimeout, asked: time.Now()}
	timer := time.NewTimer(beat.interval)
	defer timer.Stop()
	ask := func() error {
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
		if !beat.await(c, s.work, timer, ask) {
			return
		}
	}
}

// orders encodes what can be sent now.
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

// read handles frames until the connection breaks, and returns why.
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

// answer handles what is not a message.
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
			s.log.Warn("redis broker: the server goes on sending what was unsubscribed from, and counts this node there", "err", s.reg.kept)
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

// retry sees to it that what the server has denied is asked for again, after a pause. mu
// is held.
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
		s.log.Warn("redis broker: not subscribed to all", "err", s.reg.denial)
	}
	if s.again == nil {
		s.again = time.AfterFunc(s.pause.Next(), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.again = nil
			s.reg.askAgain(false)
			lifecycle.Raise(s.work)
		})
	}
}

// recovered ends the outage if nobody is down any more. mu is held.
func (s *subscriber) recovered() {
	if s.outage != nil && !s.reg.down() {
		close(s.outage)
		s.outage = nil
	}
}

// interrupted returns a channel that is closed when all subscriptions are live again,
// nil if they are.
func (s *subscriber) interrupted() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outage
}

// outageLog writes a line for the beginning of an outage, for each other reason that the
// server gives for it, and for its end.
type outageLog struct {
	told bool
	code string // of the reason told last, if it was the server's
}

func (l *outageLog) warn(log *slog.Logger, text string, err error) {
	var refused *ServerError
	code := ""
	if errors.As(err, &refused) {
		code = refused.Code()
	}
	if !l.told || code != "" && code != l.code {
		log.Warn(text, "err", err)
	}
	l.told, l.code = true, code
}

func (l *outageLog) info(log *slog.Logger, text, addr string) {
	*l = outageLog{}
	log.Info(text, "addr", addr)
}
