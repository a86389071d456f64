package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// applyViolations marks the filters that the server has refused over l since the last call. It
// interrupts the subscriptions in which they were live. mu is held.
func (s *subscriber) applyViolations(l *conn) {
	subs, over := l.violations.take()
	if len(subs) == 0 && over == 0 {
		return
	}
	claimed := false
	for _, e := range s.states {
		err := subs[e.subject]
		if err == nil && !e.granted && !e.denied && over > e.over {
			// One of the filters that the server has not confirmed yet, possibly this one.
			err, claimed = nats.ErrMaxSubscriptionsExceeded, true
		}
		if err == nil {
			continue
		}
		e.denied, e.granted, e.refused = true, false, err
		if e.active && !e.u.interrupted {
			s.log.Warn("nats broker: subscription refused", "subject", e.subject, "err", err)
			s.interrupt(e.u, e.violation())
			lifecycle.Raise(l.violations.alarm)
		}
	}
	if claimed {
		l.violations.claim(over)
	}
}

// violation returns the error of a refused filter.
func (e *filterState) violation() error {
	return fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), e.refused)
}

// missing returns an active filter that the server has not granted over the present connection. It
// returns nil if there is none. The subscriber's mutex is held.
func (u *subscription) missing() *filterState {
	for _, e := range u.filters {
		if e.active && !e.granted {
			return e
		}
	}
	return nil
}

// interrupt records that a subscription misses messages because of err, and reports it, unless it
// has been reported. mu is held.
func (s *subscriber) interrupt(u *subscription, err error) {
	s.begin(u, err)
	u.report(err)
}

// begin records that a subscription misses messages because of err. It does not report it. mu is
// held.
func (s *subscriber) begin(u *subscription, err error) {
	if !u.interrupted {
		u.interrupted, u.unreported = true, err
		s.changed()
	}
}

// resume ends the interruption of a subscription if all of its filters are live. mu is held.
func (s *subscriber) resume(u *subscription) {
	if u.interrupted && s.conn != nil && u.missing() == nil {
		u.interrupted = false
		s.changed()
		u.report(nil)
		u.in.Resume()
	}
}

// watchViolations handles refusals of filters that the server had granted over l before. It
// interrupts their subscriptions, and requests the filters again after random pauses, as with
// connections. It returns when the connection has ended.
func (s *subscriber) watchViolations(ctx context.Context, l *conn) {
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	var again <-chan time.Time
	for {
		lacking, pending := s.inspect(l)
		if err := l.violations.unclaimed(); err != nil && !pending {
			l.kill(err)
			return
		}
		switch {
		case !lacking:
			again = nil
			pause.Reset()
		case again == nil:
			again = time.After(pause.Next())
		}
		select {
		case <-l.violations.alarm:
		case <-again:
			again = nil
			if s.retry(ctx, l) != nil {
				return // the connection has ended
			}
		case <-l.net.broken:
			return
		}
	}
}

// inspect reports whether any subscription lacks a filter, and whether any filter is neither
// granted nor refused yet.
func (s *subscriber) inspect(l *conn) (lacking, pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyViolations(l)
	for u := range s.subs {
		lacking = lacking || u.missing() != nil
	}
	for _, e := range s.states {
		pending = pending || !e.granted && !e.denied
	}
	return lacking, pending
}

// retry requests refused filters again. First it requests one filter of each subscription, so that a
// server that still refuses does not get thousands of requests. Where that one was granted, it
// requests the others.
func (s *subscriber) retry(ctx context.Context, l *conn) error {
	var requested []*filterState
	again := func(e *filterState) error {
		requested = append(requested, e)
		s.unsubscribe(e)
		return s.subscribeOn(l, e)
	}
	s.mu.Lock()
	var err error
	for u := range s.subs {
		if e := u.missing(); e != nil {
			err = errors.Join(err, again(e))
		}
	}
	s.mu.Unlock()
	if err == nil {
		err = s.settle(ctx, l)
	}
	if err != nil {
		return err
	}
	first := requested
	s.mu.Lock()
	s.applyViolations(l)
	requested = nil
	for _, e := range first {
		if !e.grant() {
			continue
		}
		for _, other := range e.u.filters {
			if other.active && !other.granted {
				err = errors.Join(err, again(other))
			}
		}
	}
	s.mu.Unlock()
	if len(requested) > 0 && err == nil {
		err = s.settle(ctx, l)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyViolations(l)
	for _, e := range requested {
		e.grant()
	}
	for _, e := range first {
		s.resume(e.u)
	}
	return nil
}

// grant marks a filter as granted, unless the server has refused it. The subscriber's mutex is
// held.
func (e *filterState) grant() bool {
	if !e.denied {
		e.granted, e.refused = true, nil
	}
	return e.granted
}
