package natsbroker

import (
	"context"
	"net"

	"github.com/crossroom/crossroom/broker"
)

// attempt is an attempt to connect. Subscribe and Add wait for it while there is no connection.
type attempt struct {
	done chan struct{}
	err  error // set before done is closed; nil: check for a connection again
}

// add makes filters of u live: all of them or, on error, none.
func (s *subscriber) add(ctx context.Context, u *subscription, filters []broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range filters {
		if err := s.names.check(f.Channel()); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.adding++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.adding--
		s.mu.Unlock()
	}()
	for {
		l, err := s.await(ctx, u)
		if err != nil {
			return err
		}
		entries, err := s.request(l, u, filters)
		if err == nil && len(entries) > 0 {
			err = s.settle(ctx, l)
		}
		if again, err := s.finish(ctx, l, u, entries, err); !again {
			return err
		}
	}
}

// await waits for a connection and returns it.
func (s *subscriber) await(ctx context.Context, u *subscription) (*conn, error) {
	for {
		s.mu.Lock()
		l, next, closed := s.conn, s.next, s.closed
		s.mu.Unlock()
		switch {
		case closed || u.in.IsShut():
			return nil, broker.ErrClosed
		case l != nil:
			return l, nil
		}
		s.needConn()
		select {
		case <-next.done:
			if next.err != nil {
				return nil, next.err
			}
		case <-s.closing:
		case <-u.in.Quit():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// request subscribes on the server to those filters that u does not have.
func (s *subscriber) request(l *conn, u *subscription, filters []broker.Filter) ([]*filterState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != l {
		return nil, net.ErrClosed // subscriptions over a lost connection would count as live
	}
	var entries []*filterState
	for _, f := range filters {
		e := u.filters[f]
		if e == nil {
			f = f.Clone() // its names may be parts of a large string
			e = &filterState{u: u, filter: f, subject: s.names.subscription(f)}
			u.filters[f] = e
		}
		if e.active {
			continue
		}
		e.cancelEnd()
		e.adding++
		entries = append(entries, e)
		if err := s.subscribeOn(l, e); err != nil {
			return entries, err
		}
	}
	return entries, nil
}

// subscribeOn sends a filter's subscription over a connection. mu is held.
func (s *subscriber) subscribeOn(l *conn, e *filterState) error {
	if e.sub != nil {
		return nil
	}
	e.over = l.violations.overs()
	sub, err := l.nc.ChanSubscribe(e.subject, l.inbox)
	if err != nil {
		return err
	}
	e.sub, e.denied, e.granted = sub, false, false
	s.states[sub] = e
	s.changed()
	return nil
}

// settle waits until all subscriptions sent before are live, for publishers on every server, or
// refused.
func (s *subscriber) settle(ctx context.Context, l *conn) error {
	if err := l.ping(ctx, s.opts.ProbeTimeout); err != nil {
		return err
	}
	if err := s.propagation.confirm(ctx, l); err != nil {
		return err
	}
	if l.violations.overs() > 0 {
		// nats.go reports the same error value for each subscription beyond the maximum, so complete
		// could miss one. The next subscription is refused with a different error, because no client
		// may use the queue _sys_.
		if last, err := l.nc.ChanQueueSubscribe(s.names.mark("last"), "_sys_", l.inbox); err == nil {
			_ = last.Unsubscribe() // fails only if the connection has ended
		}
		if err := l.ping(ctx, s.opts.ProbeTimeout); err != nil {
			return err
		}
	}
	return l.violations.complete(ctx, l)
}

// finish ends a call of request. again reports that the connection has ended meanwhile.
func (s *subscriber) finish(ctx context.Context, l *conn, u *subscription, entries []*filterState, err error) (again bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == l {
		s.applyViolations(l)
	}
	var refusal error
	for _, e := range entries {
		e.adding--
		if e.refused != nil && refusal == nil {
			refusal = e.violation()
		} else if err == nil && s.conn == l {
			e.grant()
		}
	}
	if refusal == nil && u.interrupted && s.conn == l { // otherwise all filters are granted
		if e := u.missing(); e != nil {
			refusal = e.violation() // an interrupted subscription has no live filters
		}
	}
	closed := s.closed || u.in.IsShut()
	if err == nil && refusal == nil && s.conn == l && !closed {
		for _, e := range entries {
			s.activate(e)
		}
		return false, nil
	}
	for _, e := range entries {
		if !e.active {
			s.scheduleEnd(e)
		}
	}
	switch {
	case closed:
		return false, broker.ErrClosed
	case ctx.Err() != nil:
		return false, ctx.Err()
	case refusal != nil:
		return false, refusal
	case s.conn == l && err != nil:
		select {
		case <-l.net.broken: // disconnected is about to be called
		default:
			return false, err
		}
	}
	return true, nil
}
