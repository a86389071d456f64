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

// applyViolations marks the filters that the server has refused over l since the last call, and
// interrupts the subscriptions that had them live. mu is held.
func (s *subscriber) applyViolations(l *conn) {
	subs, over := l.violations.take()
	if len(subs) == 0 && over == 0 {
		return
	}
	claimed := false
	for _, e := range s.states {
		err := subs[e.subject]
		if err == nil && !e.granted && !e.denied && over > e.over {
			// One of those that the server has not answered for yet, so perhaps this one.
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

// violation is the error of a filter that was refused.
func (e *filterState) violation() error {
	return fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), e.refused)
}

// missing returns a filter that is live as far as its user knows, and that the server has not
// granted over the present connection; nil if there is none. The subscriber's mutex is held.
func (u *subscription) missing() *filterState {
	for _, e := range u.filters {
		if e.active && !e.granted {
			return e
		}
	}
	return nil
}

// interrupt notes that a subscription misses messages, and reports it with err, unless
// that is done. mu is held.
func (s *subscriber) interrupt(u *subscription, err error) {
	s.begin(u, err)
	u.report(err)
}

// begin notes that a subscription misses messages because of err. tell reports it. mu is
// held.
func (s *subscriber) begin(u *subscription, err error) {
	if !u.interrupted {
		u.interrupted, u.unreported = true, err
		s.changed()
	}
}

// resume ends the interruption of a subscription if all that it holds is live. mu is held.
func (s *subscriber) resume(u *subscription) {
	if u.interrupted && s.conn != nil && u.missing() == nil {
		u.interrupted = false
		s.changed()
		u.report(nil)
		u.in.Resume()
	}
}

// watchViolations deals with what the server refuses over l although it had granted it before: the
// subscriptions concerned are interrupted, and what was refused is tried again after
// random pauses, as with connections. It returns when the connection has ended.
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

// inspect reports whether some subscription lacks something, and whether the server has not
// answered for some subscription yet.
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

// retry asks the server again for what it has refused: first for one filter of each
// subscription, so that a server that goes on refusing is not asked for thousands, and for
// the others where that one was granted.
func (s *subscriber) retry(ctx context.Context, l *conn) error {
	var asked []*filterState
	again := func(e *filterState) error {
		asked = append(asked, e)
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
	first := asked
	s.mu.Lock()
	s.applyViolations(l)
	asked = nil
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
	if len(asked) > 0 && err == nil {
		err = s.settle(ctx, l)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyViolations(l)
	for _, e := range asked {
		e.grant()
	}
	for _, e := range first {
		s.resume(e.u)
	}
	return nil
}

// grant notes that the server has answered for a filter, unless it has refused it. The
// subscriber's mutex is held.
func (e *filterState) grant() bool {
	if !e.denied {
		e.granted, e.refused = true, nil
	}
	return e.granted
}
