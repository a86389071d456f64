package natsbroker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/signals"
)

// refuse marks the entries that the server has refused over l since the last call, and
// interrupts the subscriptions that had them live. mu is held.
func (s *subscriber) refuse(l *link) {
	subs, over := l.refused.take()
	if len(subs) == 0 && over == 0 {
		return
	}
	claimed := false
	for _, e := range s.of {
		err := subs[e.subject]
		if err == nil && !e.granted && !e.denied && over > e.over {
			// One of those that the server has not answered for yet, so perhaps this one.
			err, claimed = nats.ErrMaxSubscriptionsExceeded, true
		}
		if err == nil {
			continue
		}
		e.denied, e.granted, e.refused = true, false, err
		if e.live && !e.u.down {
			s.log.Warn("nats broker: subscription refused", "subject", e.subject, "err", err)
			s.interrupt(e.u, e.refusal())
			signals.Raise(l.refused.alarm)
		}
	}
	if claimed {
		l.refused.claim(over)
	}
}

// refusal is the error of an entry that was refused.
func (e *entry) refusal() error {
	return fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), e.refused)
}

// lacks returns an entry that is live as far as its user knows, and that the server has not
// granted over the present link; nil if there is none. The subscriber's mutex is held.
func (u *subscription) lacks() *entry {
	for _, e := range u.entries {
		if e.live && !e.granted {
			return e
		}
	}
	return nil
}

// interrupt notes that a subscription misses messages, and reports it with err, unless
// that is done. mu is held.
func (s *subscriber) interrupt(u *subscription, err error) {
	s.begin(u, err)
	u.tell(err)
}

// begin notes that a subscription misses messages because of err. tell reports it. mu is
// held.
func (s *subscriber) begin(u *subscription, err error) {
	if !u.down {
		u.down, u.untold = true, err
		s.changed()
	}
}

// revive ends the interruption of a subscription if all that it holds is live. mu is held.
func (s *subscriber) revive(u *subscription) {
	if u.down && s.link != nil && u.lacks() == nil {
		u.down = false
		s.changed()
		u.tell(nil)
		u.in.Resume()
	}
}

// tend deals with what the server refuses over l although it had granted it before: the
// subscriptions concerned are interrupted, and what was refused is tried again after
// random pauses, as with connections. It returns when the link has ended.
func (s *subscriber) tend(ctx context.Context, l *link) {
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	var again <-chan time.Time
	for {
		lacking, pending := s.look(l)
		if err := l.refused.unclaimed(); err != nil && !pending {
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
		case <-l.refused.alarm:
		case <-again:
			again = nil
			if s.retry(ctx, l) != nil {
				return // the link has ended
			}
		case <-l.wire.broken:
			return
		}
	}
}

// look reports whether some subscription lacks something, and whether the server has not
// answered for some subscription yet.
func (s *subscriber) look(l *link) (lacking, pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse(l)
	for u := range s.subs {
		lacking = lacking || u.lacks() != nil
	}
	for _, e := range s.of {
		pending = pending || !e.granted && !e.denied
	}
	return lacking, pending
}

// retry asks the server again for what it has refused: first for one filter of each
// subscription, so that a server that goes on refusing is not asked for thousands, and for
// the others where that one was granted.
func (s *subscriber) retry(ctx context.Context, l *link) error {
	var asked []*entry
	again := func(e *entry) error {
		asked = append(asked, e)
		s.unsubscribe(e)
		return s.subscribeOn(l, e)
	}
	s.mu.Lock()
	var err error
	for u := range s.subs {
		if e := u.lacks(); e != nil {
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
	s.refuse(l)
	asked = nil
	for _, e := range first {
		if !e.grant() {
			continue
		}
		for _, other := range e.u.entries {
			if other.live && !other.granted {
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
	s.refuse(l)
	for _, e := range asked {
		e.grant()
	}
	for _, e := range first {
		s.revive(e.u)
	}
	return nil
}

// grant notes that the server has answered for an entry, unless it has refused it. The
// subscriber's mutex is held.
func (e *entry) grant() bool {
	if !e.denied {
		e.granted, e.refused = true, nil
	}
	return e.granted
}
