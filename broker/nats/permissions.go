package natsbroker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// violations are what the server of one connection has refused and the broker has not dealt with
// yet. A server says so when it is asked for something, and also later, about what it had
// granted: its configuration or an account has changed.
type violations struct {
	// alarm has a value when refused subscriptions wait for take.
	alarm chan struct{}

	mu   sync.Mutex
	last error            // that was noted
	news chan struct{}    // closed and replaced with last
	subs map[string]error // subscriptions, by subject
	// over counts the subscriptions that were one too many for the server, which does not
	// say which. Those up to claimed are dealt with.
	over, claimed int
	messages      map[string]*refusedMessages // by subject
}

// refusedMessages counts messages for one subject.
type refusedMessages struct {
	n   int
	err error
}

func newViolations() *violations {
	return &violations{alarm: make(chan struct{}, 1), news: make(chan struct{}), subs: map[string]error{}}
}

// transient reports whether a connection goes on after an error of nats.go's: the server has
// refused something, or somebody has sent a message with headers that are none.
func transient(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrMaxSubscriptionsExceeded) || errors.Is(err, nats.ErrBadHeaderMsg)
}

// note takes a transient error. nats.go calls it for one after the other, from a goroutine
// of its own.
func (r *violations) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Permissions Violation for Publish to "subject", quoted as in Go.
	text := err.Error()
	if errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		r.over++
		lifecycle.Raise(r.alarm)
	} else if i := strings.IndexByte(text, '"'); i >= 0 {
		if quoted, bad := strconv.QuotedPrefix(text[i:]); bad == nil {
			subject, _ := strconv.Unquote(quoted)
			if strings.Contains(text[:i], "Subscription") {
				r.subs[subject] = err
				lifecycle.Raise(r.alarm)
			} else {
				r.count(subject, err)
			}
		}
	}
	r.last = err
	close(r.news)
	r.news = make(chan struct{})
}

// count notes a refused message. mu is held.
func (r *violations) count(subject string, err error) {
	if r.messages == nil {
		r.messages = map[string]*refusedMessages{}
	}
	if m := r.messages[subject]; m != nil {
		m.n++
		return
	}
	r.messages[subject] = &refusedMessages{1, err}
}

// complete waits, after a ping over l, until everything has been noted that the server
// had refused before it answered.
func (r *violations) complete(ctx context.Context, l *conn) error {
	for {
		// nats.go has a refusal for its last error at once, and tells note in its own time,
		// but not while this is compared.
		r.mu.Lock()
		last := l.nc.LastError()
		done := last == nil || last == r.last
		news := r.news
		r.mu.Unlock()
		if done {
			return nil
		}
		if !transient(last) {
			return l.reason() // it hides what came before it
		}
		select {
		case <-news:
		case <-l.net.broken:
			return l.reason()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take returns the subscriptions that were refused since the last call, and how many were
// too many so far.
func (r *violations) take() (subs map[string]error, over int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.subs) > 0 {
		subs = r.subs
		r.subs = map[string]error{}
	}
	return subs, r.over
}

// overs returns how many subscriptions were too many so far.
func (r *violations) overs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// claim notes that so many of the subscriptions that were too many are dealt with.
func (r *violations) claim(over int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claimed = over
}

// unclaimed returns an error if the server has said of subscriptions that it had granted
// that they are too many. It is about to close the connection.
func (r *violations) unclaimed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over > r.claimed {
		return nats.ErrMaxSubscriptionsExceeded
	}
	return nil
}

// message returns why the server has refused messages for a subject; nil if it has not, or
// they were taken.
func (r *violations) message(subject string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.messages[subject]; m != nil {
		return m.err
	}
	return nil
}

// hasMessages reports whether takeMessages would return any.
func (r *violations) hasMessages() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages) > 0
}

// takeMessages returns how many messages the server has refused since the last call, by
// subject.
func (r *violations) takeMessages() map[string]*refusedMessages {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.messages
	r.messages = nil
	return all
}
