package redisbroker

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// subscriber keeps one connection for all subscriptions, for as long as there are
// filters and a little longer. Its goroutine, run, connects and writes; a second one
// reads.
type subscriber struct {
	nodes *nodes
	names *naming
	opts  *Options
	log   *slog.Logger
	// work tells run that there is something to send.
	work   chan struct{}
	counts *inbox.Counts

	mu     sync.Mutex
	reg    *registry
	closed bool
	outage chan struct{} // closed at the end of the present one; nil if there is none
	late   *time.Timer   // runs while interruptions wait for their reason
	denied bool          // the server refuses what it allowed before, as the log knows
	again  *time.Timer   // runs until the server is asked for that once more
	pause  backoff.Backoff

	// routes are where messages go. They are good until changed is called. Only the reader
	// looks into them.
	routes atomic.Pointer[routes]
}

func newSubscriber(n *nodes, names *naming, opts *Options) *subscriber {
	s := &subscriber{
		nodes: n, names: names, opts: opts, log: opts.Logger, pause: backoff.Backoff{Min: opts.BackoffMin, Max: opts.BackoffMax},
		work: make(chan struct{}, 1), counts: inbox.NewCounts(), reg: newRegistry(names),
	}
	s.changed()
	return s
}

// changed notes that messages may go elsewhere from now on. Nothing keeps what it knew of
// subscriptions that may have gone. mu is held.
func (s *subscriber) changed() { s.routes.Store(&routes{}) }

// subscribe makes a subscription and waits until it is live.
func (s *subscriber) subscribe(ctx context.Context, r broker.Receiver, filters []broker.Filter) (*subscription, error) {
	u := newSubscription(s, r)
	// The goroutine is ended and waited for by Close, of the subscription or of the
	// broker, which finds it in the registry; or below.
	go u.in.Run()
	if err := s.add(ctx, u, filters); err != nil {
		s.drop(u)
		<-u.in.Done() // nothing was delivered, so it ends at once
		return nil, err
	}
	return u, nil
}

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
	if s.closed || u.in.IsShut() {
		s.mu.Unlock()
		return broker.ErrClosed
	}
	r := s.reg.ask(u, filters)
	s.changed()
	s.mu.Unlock()
	lifecycle.Raise(s.work)
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.reg.fail(r, ctx.Err())
	s.mu.Unlock()
	lifecycle.Raise(s.work)
	return <-r.done // the other outcome may have been a moment faster
}

// remove takes filters from u at once, and returns what to wait for until that is
// so in every respect.
func (s *subscriber) remove(u *subscription, filters []broker.Filter) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waits []<-chan struct{}
	for _, f := range filters {
		if gone := s.reg.remove(u, f); gone != nil {
			waits = append(waits, gone)
		}
	}
	s.changed()
	lifecycle.Raise(s.work)
	// Also if nothing was removed now: the call may belong to what an earlier Remove
	// took out that did not wait for its end.
	return append(waits, u.in.Retract(u.matches))
}

// drop ends a subscription and returns what to wait for, apart from its goroutine.
func (s *subscriber) drop(u *subscription) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.in.Shut()
	for r := range s.reg.asking {
		if r.sub == u {
			s.reg.fail(r, broker.ErrClosed)
		}
	}
	u.down = false // no Resumed will come
	var waits []<-chan struct{}
	for f := range u.filters {
		if gone := s.reg.remove(u, f); gone != nil {
			waits = append(waits, gone)
		}
	}
	s.changed()
	delete(s.reg.subs, u)
	s.recovered()
	lifecycle.Raise(s.work)
	return waits
}

// close ends all subscriptions for good and returns what to wait for.
func (s *subscriber) close() []<-chan struct{} {
	s.mu.Lock()
	s.closed = true
	subs := make([]*subscription, 0, len(s.reg.subs))
	for u := range s.reg.subs {
		subs = append(subs, u)
	}
	for r := range s.reg.asking {
		s.reg.fail(r, broker.ErrClosed)
	}
	s.mu.Unlock()
	waits := make([]<-chan struct{}, 0, len(subs))
	for _, u := range subs {
		s.drop(u)
		waits = append(waits, u.in.Done())
	}
	return waits
}

// fill writes the counters of subscribing into st.
func (s *subscriber) fill(st *broker.Stats) {
	s.counts.Fill(st)
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Subscriptions = s.reg.active()
}
