package redisbroker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// begin must be called before the first filter. ctx ends the goroutines of links by address.
func (s *subscriber) begin(ctx context.Context) {
	if s.reg.slots != nil {
		s.reg.opened = func(l *link) { s.works.Go(func() { s.keep(ctx, l) }) } // run waits for it
		s.moves = s.reg.slots.notify()
	}
}

// run keeps the connections open that are needed, until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	if s.reg.one != nil {
		s.keep(ctx, s.reg.one)
		return
	}
	defer s.works.Wait()
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	var again <-chan time.Time
	for {
		select {
		case <-s.moves:
		case <-again:
			s.reg.slots.refresh()
			again = nil
			continue
		case <-ctx.Done():
			return
		}
		switch homeless := s.reroute(); {
		case homeless == 0:
			pause.Reset()
			again = nil
		case again == nil:
			again = time.After(pause.Next())
		}
	}
}

// reroute follows the list of slots. It returns how many entries have no master.
func (s *subscriber) reroute() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	homeless := s.reg.reroute()
	s.settle()
	return homeless
}

// keep keeps one connection open, while it is needed, until ctx ends.
func (s *subscriber) keep(ctx context.Context, l *link) {
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	var outages outageLog
	for ctx.Err() == nil {
		needed, ended := s.need(l)
		switch {
		case ended:
			return
		case !needed:
			select {
			case <-l.work:
			case <-ctx.Done():
			}
			continue
		}
		next := pause.Next
		c, err := l.server.dial(ctx, s.opts.ProbeTimeout)
		if err == nil {
			err = s.serve(ctx, l, c, &outages)
			l.server.left(err)
			if c.cause == errFinished {
				continue
			}
			lasted := time.Since(c.born)
			next = func() time.Duration { return pause.Lost(lasted) }
		}
		if ctx.Err() != nil {
			break
		}
		outages.warn(s.opts.conns, "redis broker: not subscribed", err)
		if s.interrupt(ctx, l, err) {
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
	s.reg.disconnected(l, nil) // wakes calls that wait for a reply of the server
}

// need reports whether a connection is needed. A link by address without entries ends.
func (s *subscriber) need(l *link) (needed, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.size > 0 || l == s.reg.one {
		return l.size > 0, false
	}
	delete(s.reg.links, l.addr)
	return false, true
}

// hangUp reports whether the connection is not needed any more. If it is not, later Subscribe calls
// wait for the next connection.
func (s *subscriber) hangUp(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.size > 0 {
		return false
	}
	s.reg.disconnected(l, nil)
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
func (s *subscriber) interrupt(ctx context.Context, l *link, err error) bool {
	s.disconnect(l, err)
	if s.reg.slots != nil {
		_ = s.reg.slots.await(ctx) // another master may serve the slots by now
	}
	s.mu.Lock()
	held := l.held
	s.mu.Unlock()
	if held {
		select {
		case <-time.After(moveTime):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.held = false
	if s.reg.slots != nil {
		s.reg.reroute()
	}
	again := s.reg.retries(l, err)
	s.settle()
	return again
}

// disconnect records that a connection was lost because of err, or could not be made, and reports it.
func (s *subscriber) disconnect(l *link, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.disconnected(l, err)
	// A master that has become a replica has delivered messages which are still on their way to its own master.
	_, l.held = errors.AsType[*MembershipError](err)
	switch {
	case isReason(err):
		s.reg.report(err)
	case !closedWithoutReason(err): // such as a broken link: the server has no other reason
		s.reg.report(nil)
	}
	if s.reg.down() && s.outage == nil {
		s.outage = make(chan struct{})
		s.opts.conns.Down.Store(true)
	}
	s.settle()
}

// reportLate reports interruptions whose reason did not become known in time.
func (s *subscriber) reportLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = nil
	s.reg.report(nil)
}

// serve uses a connection until it breaks, and returns the cause.
func (s *subscriber) serve(ctx context.Context, l *link, c *conn, outages *outageLog) error {
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	s.mu.Lock()
	s.reg.connected(l)
	s.changed()
	s.mu.Unlock()
	outages.info(s.opts.conns, "redis broker: connected for subscribing", c.addr)

	var reading sync.WaitGroup
	reading.Go(func() { c.close(s.read(l, c)) })
	s.write(l, c)
	reading.Wait()
	return c.lost()
}

// write sends the registry's commands until the connection is closed. It closes the connection
// itself if the server is unresponsive, or does not belong to the fleet any more.
func (s *subscriber) write(l *link, c *conn) {
	alive := liveness{interval: s.opts.ProbeInterval, timeout: s.opts.ProbeTimeout, examined: time.Now()}
	timer := time.NewTimer(alive.interval)
	defer timer.Stop()
	examine := func() error {
		if s.hangUp(l) {
			return errFinished
		}
		s.mu.Lock()
		for _, command := range c.exam.commands {
			l.sent.Push(&order{command: command[0], exam: true})
		}
		s.mu.Unlock()
		_, err := c.write(c.exam.encoded, s.opts.ProbeTimeout)
		return err
	}
	var buf []byte
	for {
		buf = s.orders(l, buf[:0])
		if len(buf) > 0 {
			if _, err := c.write(buf, s.opts.ProbeTimeout); err != nil {
				c.close(err)
				return
			}
			continue
		}
		if !alive.await(c, l.work, timer, examine) {
			return
		}
	}
}

// orders encodes the commands that can be sent now.
func (s *subscriber) orders(l *link, buf []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := s.reg.nextOrder(l); o != nil; o = s.reg.nextOrder(l) {
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
func (s *subscriber) read(l *link, c *conn) error {
	f := frame{resp3: c.resp3}
	for {
		if err := readFrame(c.r, &f); err != nil {
			return err
		}
		if f.kind == frameMessage || f.kind == framePMessage {
			if err := s.message(l, c, &f); err != nil {
				return err
			}
			continue
		}
		if err := s.answer(l, c, &f); err != nil {
			return err
		}
	}
}

// answer handles a frame that is not a message.
func (s *subscriber) answer(l *link, c *conn, f *frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	slot, addr, moved := movedTo(f.err)
	switch {
	case f.kind == frameSubscribed || f.kind == frameUnsubscribed:
		err = s.reg.confirmed(l, f.kind == frameSubscribed, f.name)
	case f.kind == frameError && moved && s.reg.slots != nil:
		s.reg.moved(l, slot, addr)
	case f.kind == frameError && !l.examining():
		known := l.kept != nil
		err = s.reg.refused(l, f.err)
		if !known && l.kept != nil {
			s.log.Warn("redis broker: cannot unsubscribe: the server continues to send these messages and to count this node as a subscriber", "err", l.kept)
		}
	default:
		if err = l.examined(); err == nil {
			err = s.nodes.answered(c, f.answer())
		}
	}
	s.settle()
	return err
}

// settle does what a change of the registry requires. mu is held.
func (s *subscriber) settle() {
	if s.reg.slots != nil && s.reg.rejoined && s.splits == nil && s.reg.down() {
		// After an outage of all masters the links return one after another, within twice the longest pause.
		s.splits = time.AfterFunc(2*s.opts.BackoffMax, s.split)
	}
	if s.reg.broke && s.late == nil {
		s.late = time.AfterFunc(s.opts.BackoffMin+reasonWait, s.reportLate)
	}
	s.reg.broke = false
	s.changed()
	s.recovered()
	s.retry()
	s.wake()
}

// split ends what has returned of interruptions that continue.
func (s *subscriber) split() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.splits = nil
	s.reg.split()
	s.settle()
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
			s.wake()
		})
	}
}

// recovered ends the outage if no subscription is interrupted any more. mu is held.
func (s *subscriber) recovered() {
	if s.outage != nil && !s.reg.down() {
		close(s.outage)
		s.outage = nil
		s.opts.conns.Down.Store(false)
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

func (l *outageLog) warn(log *lifecycle.Log, text string, err error) {
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

func (l *outageLog) info(log *lifecycle.Log, text, addr string) {
	*l = outageLog{}
	log.Info(text, "addr", addr)
}
