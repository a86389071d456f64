package natsbroker

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// refusals are what the server of one link did not allow, by subject. They are kept until
// whom they concern has heard of them: a server may refuse a new subject each time, for
// as long as the link lasts.
type refusals struct {
	mu   sync.Mutex
	last error         // that was noted
	news chan struct{} // closed and replaced with last
	subs map[string]error
	// Messages: what came in since the last call of ofMessages, and between the two before.
	messages, before map[string]error
}

func newRefusals() *refusals {
	return &refusals{news: make(chan struct{}), subs: map[string]error{}, messages: map[string]error{}, before: map[string]error{}}
}

// note takes an error of the server: nats.go calls it, from a goroutine of its own, for
// one after the other.
func (r *refusals) note(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Permissions Violation for Publish to "subject", quoted as in Go.
	text := err.Error()
	if i := strings.IndexByte(text, '"'); i >= 0 {
		if quoted, bad := strconv.QuotedPrefix(text[i:]); bad == nil {
			subject, _ := strconv.Unquote(quoted)
			if strings.Contains(text[:i], "Subscription") {
				r.subs[subject] = err
			} else {
				r.messages[subject] = err
			}
		}
	}
	r.last = err
	close(r.news)
	r.news = make(chan struct{})
}

// complete waits, after a ping over l, until everything has been noted that the server
// had refused before it answered.
func (r *refusals) complete(ctx context.Context, l *link) error {
	for {
		// nats.go has a refusal for its last error at once, and tells note in its own time,
		// but not while this is compared.
		r.mu.Lock()
		last := l.nc.LastError()
		done := last == nil || last == r.last || !errors.Is(last, nats.ErrPermissionViolation)
		news := r.news
		r.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-news:
		case <-l.wire.broken:
			return l.reason()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeSubs returns the subscriptions that were refused since the last call.
func (r *refusals) takeSubs() map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.subs) == 0 {
		return nil
	}
	subs := r.subs
	r.subs = map[string]error{}
	return subs
}

// ofMessages returns the subjects of messages that the server has refused before it
// answered a ping; it is to be called after each answer that settles messages. What came
// in since the last call may be about a message behind the ping, so it is returned once
// more.
func (r *refusals) ofMessages() map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.messages)+len(r.before) == 0 {
		return nil
	}
	all := r.before
	maps.Copy(all, r.messages)
	r.before, r.messages = r.messages, map[string]error{}
	return all
}
