package redisbroker

import (
	"context"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/signals"
)

// run keeps the connection until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	server := &picker{nodes: s.nodes}
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	told := false // in the log, that there is no connection
	for ctx.Err() == nil {
		if !s.isNeeded() {
			select {
			case <-s.work:
			case <-ctx.Done():
			}
			continue
		}
		c, err := server.dial(ctx, s.opts.ProbeTimeout)
		if err == nil {
			told = false
			err = s.serve(ctx, c)
			if time.Since(c.born) > s.opts.BackoffMax {
				pause.Reset()
			}
			if c.cause == errFinished {
				continue
			}
		}
		if ctx.Err() != nil {
			break
		}
		if !told {
			s.log.Warn("redis broker: not subscribed", "err", err)
		}
		told = true
		if s.interrupt(err) {
			select {
			case <-time.After(pause.Next()):
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

// interrupt tells everybody that the connection is gone, and reports whether there
// is somebody to come back for. If there is not, those who are just subscribing get
// the error: at the start it says more than a wait.
func (s *subscriber) interrupt(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.disconnected(func(u *subscription) { u.in.Interrupt(err) })
	s.turn.Add(1)
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

// serve uses a connection until it breaks, and returns why.
func (s *subscriber) serve(ctx context.Context, c *conn) error {
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	s.mu.Lock()
	s.reg.connected()
	s.turn.Add(1)
	s.mu.Unlock()
	s.log.Info("redis broker: connected for subscribing", "addr", c.addr)

	var reading sync.WaitGroup
	reading.Go(func() { c.close(s.read(c)) })
	s.write(c)
	reading.Wait()
	return c.lost()
}

// write sends what the registry asks for until the connection is closed, which it
// does itself if the server is silent.
func (s *subscriber) write(c *conn) {
	beat := pulse{interval: s.opts.ProbeInterval, timeout: s.opts.ProbeTimeout}
	timer := time.NewTimer(beat.interval)
	defer timer.Stop()
	ask := func() error {
		if s.hangUp() {
			return errFinished
		}
		s.mu.Lock()
		s.reg.sent.Push(&order{command: "PING"})
		s.mu.Unlock()
		_, err := c.write(appendCommand(nil, "PING"), s.opts.ProbeTimeout)
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
		if !beat.tend(c, s.work, timer, ask) {
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
	var f frame
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
		if err := s.answer(&f); err != nil {
			return err
		}
	}
}

// answer handles what is not a message.
func (s *subscriber) answer(f *frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch f.kind {
	case frameSubscribed, frameUnsubscribed:
		err = s.reg.confirmed(f.kind == frameSubscribed, f.name)
	case framePong:
		err = s.reg.ponged()
	case frameError:
		err = s.reg.refused(f.err)
	}
	s.turn.Add(1)
	s.recovered()
	if s.reg.todo.Len() > 0 {
		signals.Raise(s.work)
	}
	return err
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
