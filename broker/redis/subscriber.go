package redisbroker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// subscriber keeps one connection for all subscriptions, or, in the sharded layout on a cluster, one
// for each master that serves a slot of their channels. It opens a connection when there are filters
// for it, and closes it some time after the last one was removed. One goroutine connects and writes
// (keep); a second goroutine reads.
type subscriber struct {
	nodes  *nodes
	names  *naming
	opts   *Options
	log    *slog.Logger
	counts *inbox.Counts
	waits  *inbox.Waits    // of the readers, for all receivers
	works  sync.WaitGroup  // the goroutines of links by address
	moves  <-chan struct{} // the list of slots has changed

	mu     sync.Mutex
	reg    *registry
	closed bool
	outage chan struct{} // closed when the present outage ends; nil if there is none
	late   *time.Timer   // runs while interruptions wait for their reason
	denied bool          // the server refuses a name that it allowed before, and the log says so
	again  *time.Timer   // runs until the refused names are requested again
	pause  backoff.Backoff
	splits *time.Timer // runs until split is called
}

func newSubscriber(n *nodes, names *naming, opts *Options) *subscriber {
	s := &subscriber{
		nodes: n, names: names, opts: opts, log: opts.Logger, pause: backoff.Backoff{Min: opts.BackoffMin, Max: opts.BackoffMax},
		counts: inbox.NewCounts(), waits: inbox.NewWaits(opts.SlowReceiver), reg: newRegistry(names),
	}
	if s.reg.slots = n.slots(); s.reg.slots == nil {
		s.reg.one = newLink("", &picker{nodes: n, use: forSubscribing})
	}
	return s
}

// changed empties the caches of routes. Nothing then refers to removed subscriptions. mu is held.
func (s *subscriber) changed() {
	for l := range s.reg.all() {
		l.routes.Store(&routes{})
	}
}

// wake wakes the goroutines that write. mu is held.
func (s *subscriber) wake() {
	for l := range s.reg.all() {
		if l.todo.Len() > 0 || l.size > 0 && !l.online {
			lifecycle.Raise(l.work)
		}
	}
}

// subscribe makes a subscription and waits until its filters are live.
func (s *subscriber) subscribe(ctx context.Context, r broker.Receiver, filters []broker.Filter) (*subscription, error) {
	u := newSubscription(s, r)
	// Close of the subscription or of the broker ends the goroutine and waits for it; if add
	// fails, the code below does.
	go u.in.Run()
	if err := s.add(ctx, u, filters); err != nil {
		s.drop(u)
		<-u.in.Done() // ends at once, because nothing was delivered
		return nil, err
	}
	return u, nil
}

func (s *subscriber) add(ctx context.Context, u *subscription, filters []broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range filters {
		if err := s.names.checkFilter(f); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if s.closed || u.in.IsShut() {
		s.mu.Unlock()
		return broker.ErrClosed
	}
	r := s.reg.request(u, filters)
	if s.reg.slots != nil && r.homeless() {
		s.reg.slots.refresh() // and run places the entries
	}
	s.changed()
	s.wake()
	s.mu.Unlock()
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.reg.fail(r, ctx.Err())
	s.wake()
	s.mu.Unlock()
	return <-r.done // the request may have been granted just before
}

// remove removes filters from u at once. It returns the channels to wait for until the server
// has unsubscribed and the receiver has finished with their messages.
func (s *subscriber) remove(u *subscription, filters []broker.Filter) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waits []<-chan struct{}
	for _, f := range filters {
		if released := s.reg.remove(u, f); released != nil {
			waits = append(waits, released)
		}
	}
	s.changed()
	s.wake()
	// Retract is needed also if no filter was removed: the running call of the receiver may have
	// a message of a filter that an earlier Remove removed without waiting for it.
	return append(waits, u.in.Retract(u.matches))
}

// drop closes a subscription and returns the channels to wait for, except that of its goroutine.
func (s *subscriber) drop(u *subscription) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.in.Shut()
	for r := range s.reg.requests {
		if r.sub == u {
			s.reg.fail(r, broker.ErrClosed)
		}
	}
	u.down = false // Resumed is not called any more
	var waits []<-chan struct{}
	for f := range u.filters {
		if released := s.reg.remove(u, f); released != nil {
			waits = append(waits, released)
		}
	}
	s.changed()
	delete(s.reg.subs, u)
	s.recovered()
	s.wake()
	return waits
}

// close closes all subscriptions and returns the channels to wait for.
func (s *subscriber) close() []<-chan struct{} {
	s.mu.Lock()
	s.closed = true
	subs := make([]*subscription, 0, len(s.reg.subs))
	for u := range s.reg.subs {
		subs = append(subs, u)
	}
	for r := range s.reg.requests {
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
