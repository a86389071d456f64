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

// violations are the refusals of the server of one connection that the broker has not handled
// yet. A server refuses a request at once. It may also refuse later what it had granted, because
// its configuration or an account has changed.
type violations struct {
	// alarm gets a value when refused subscriptions wait for take.
	alarm chan struct{}

	mu   sync.Mutex
	last error            // the last error that was recorded
	news chan struct{}    // closed and replaced with last
	subs map[string]error // refused subscriptions, by subject
	// over counts the refusals of subscriptions beyond the server's maximum. The server does not
	// say which subscription it refuses. The first claimed of them are handled.
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

// transient reports whether a connection stays open after an error of nats.go: the server has
// refused a request, or a program has sent a message with invalid headers.
func transient(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrMaxSubscriptionsExceeded) || errors.Is(err, nats.ErrBadHeaderMsg)
}

// record records a transient error. nats.go calls it from its own goroutine, one call at a time.
func (r *violations) record(err error) {
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

// count counts a refused message. mu is held.
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

// complete waits, after a ping over l, until all refusals that the server sent before its reply
// have been recorded.
func (r *violations) complete(ctx context.Context, l *conn) error {
	for {
		// nats.go sets LastError at once, and calls record later, but not while mu is held.
		r.mu.Lock()
		last := l.nc.LastError()
		done := last == nil || last == r.last
		news := r.news
		r.mu.Unlock()
		if done {
			return nil
		}
		if !transient(last) {
			return l.reason() // last hides the errors before it
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

// take returns the subscriptions that were refused since the last call, and the number of all
// refusals beyond the server's maximum.
func (r *violations) take() (subs map[string]error, over int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.subs) > 0 {
		subs = r.subs
		r.subs = map[string]error{}
	}
	return subs, r.over
}

// overs returns the number of all refusals beyond the server's maximum.
func (r *violations) overs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

// claim records that the first over refusals beyond the server's maximum are handled.
func (r *violations) claim(over int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claimed = over
}

// unclaimed returns an error if the server has refused, beyond its maximum, subscriptions that it
// had granted. It then closes the connection.
func (r *violations) unclaimed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over > r.claimed {
		return nats.ErrMaxSubscriptionsExceeded
	}
	return nil
}

// message returns why the server has refused messages for a subject. It returns nil if it has not,
// or if takeMessages has returned them.
func (r *violations) message(subject string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.messages[subject]; m != nil {
		return m.err
	}
	return nil
}

// hasMessages reports whether takeMessages would return any messages.
func (r *violations) hasMessages() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.messages) > 0
}

// takeMessages returns how many messages the server has refused since the last call, by subject.
func (r *violations) takeMessages() map[string]*refusedMessages {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.messages
	r.messages = nil
	return all
}
