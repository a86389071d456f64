package natsbroker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
)

// subscriber is who wants to hear what, and passes on what arrives. It has no
// goroutine of its own: the reading one of the connection delivers, and the sender makes
// connections.
type subscriber struct {
	names *naming
	opts  *Options
	// needConn wakes the sender.
	needConn    func()
	propagation *propagation
	log         *slog.Logger
	self        uint64 // frame.from of the messages of this broker
	counts      *inbox.Counts

	mu      sync.Mutex
	closed  bool
	closing chan struct{} // closed with closed
	subs    map[*subscription]struct{}
	adding  int         // calls of Subscribe and Add underway
	next    *attempt    // to have a connection
	late    *time.Timer // runs while a receiver may wait for the reason of an interruption
	conn    *conn       // with everything live; nil while there is none
	// states are the filters by their subscription on the server; those of a connection that is
	// being prepared too.
	states map[*nats.Subscription]*filterState

	// holders are the subscriptions that have a filter, live.
	holders map[broker.Filter][]*subscription
	// spaces counts live filters by their namespaces.
	spaces map[space]int
	// forget is called when one of these has none any more.
	forget func()

	// routes are where messages go, and told the addresses that know it. Both are good until
	// changed is called. Only the reading goroutine looks into routes.
	routes atomic.Pointer[routes]
	cached []*target
}

// space is a namespace in one protocol.
type space struct {
	protocol broker.Protocol
	ns       string
}

func spaceOf(f broker.Filter) space { return space{f.Channel().Protocol(), f.Channel().Namespace()} }

func newSubscriber(names *naming, opts *Options, proof *propagation, self uint64, need, forget func()) *subscriber {
	s := &subscriber{
		names: names, opts: opts, propagation: proof, log: opts.Logger, self: self & (1<<56 - 1), needConn: need, counts: inbox.NewCounts(), closing: make(chan struct{}),
		subs: map[*subscription]struct{}{}, states: map[*nats.Subscription]*filterState{},
		next: &attempt{done: make(chan struct{})}, holders: map[broker.Filter][]*subscription{},
		spaces: map[space]int{}, forget: forget,
	}
	s.routes.Store(&routes{})
	return s
}

// changed notes that messages may go elsewhere from now on. Nothing keeps what it knew of
// subscriptions that may have gone. mu is held.
func (s *subscriber) changed() {
	s.routes.Store(&routes{})
	for _, a := range s.cached {
		a.local.Store(nil)
	}
	clear(s.cached)
	s.cached = s.cached[:0]
}

// subscribe makes a subscription and waits until it is live.
func (s *subscriber) subscribe(ctx context.Context, r broker.Receiver, filters []broker.Filter) (*subscription, error) {
	u := newSubscription(s, r)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, broker.ErrClosed
	}
	s.subs[u] = struct{}{}
	s.mu.Unlock()
	// The goroutine is ended and waited for by Close, of the subscription or of the
	// broker, which finds it in subs; or below.
	go u.in.Run()
	if err := s.add(ctx, u, filters); err != nil {
		s.drop(u)
		<-u.in.Done() // nothing was delivered, so it ends at once
		return nil, err
	}
	return u, nil
}

// remove takes filters from u at once, and returns what to wait for until no call
// for them is running.
func (s *subscriber) remove(u *subscription, filters []broker.Filter) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range filters {
		e := u.filters[f]
		if e == nil || !e.active {
			continue
		}
		s.deactivate(e)
		s.scheduleEnd(e)
	}
	s.resume(u)
	s.changed()
	// Also if nothing was removed now: the call may belong to what an earlier Remove
	// took out that did not wait for its end.
	return u.in.Retract(u.matches)
}

// drop ends a subscription for good. Its goroutine may still be in a call.
func (s *subscriber) drop(u *subscription) {
	s.mu.Lock()
	for _, e := range u.filters {
		s.deactivate(e)
		s.end(e)
	}
	u.interrupted = false // no Resumed will come
	delete(s.subs, u)
	s.mu.Unlock()
	u.in.Shut()
}

// needed reports whether somebody wants a connection.
func (s *subscriber) needed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.adding > 0 {
		return true
	}
	for u := range s.subs {
		if len(u.filters) > 0 {
			return true
		}
	}
	return false
}

// prepare subscribes over a new connection to everything.
func (s *subscriber) prepare(ctx context.Context, l *conn) error {
	s.mu.Lock()
	for u := range s.subs {
		for _, e := range u.filters {
			if !e.active {
				continue // its Add will see to it
			}
			if err := s.subscribeOn(l, e); err != nil {
				s.mu.Unlock()
				return err
			}
		}
	}
	n := len(s.states)
	s.mu.Unlock()
	if n == 0 {
		// What the account may do comes behind the answer to the first ping.
		return l.ping(ctx, s.opts.ProbeTimeout)
	}
	return s.settle(ctx, l)
}

// connected begins to use a connection that is prepared, and ends the interruptions of those
// subscriptions of which all is live.
func (s *subscriber) connected(l *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyViolations(l)
	for _, e := range s.states {
		if !e.grant() && errors.Is(e.refused, nats.ErrMaxSubscriptionsExceeded) {
			return e.violation() // which of them are too many is unknown
		}
	}
	select {
	case <-l.net.broken:
		return l.reason()
	default:
	}
	s.conn = l
	s.changed()
	for u := range s.subs {
		if e := u.missing(); e != nil {
			s.log.Warn("nats broker: subscription refused", "subject", e.subject, "err", e.refused)
			u.report(e.violation())
		}
		s.resume(u)
	}
	s.attempted(nil)
	return nil
}

// attempted tells those who wait for a connection. mu is held.
func (s *subscriber) attempted(err error) {
	s.next.err = err
	close(s.next.done)
	s.next = &attempt{done: make(chan struct{})}
}

// reasonWait is how long receivers wait for the reason why a server closed the
// connection, in addition to the first pause.
const reasonWait = 250 * time.Millisecond

// disconnected notes that a connection has ended. If that is a gap, with err for its reason,
// and not the end of the broker, each subscription that has something to miss is
// interrupted.
//
// A server that closes a connection without a reason most often refuses the next one with
// it: the user was removed. The reports wait for that, for a short time.
func (s *subscriber) disconnected(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = nil
	s.changed()
	clear(s.states)
	for u := range s.subs {
		for _, e := range u.filters {
			e.sub, e.denied, e.granted, e.refused = nil, false, false, nil
		}
		if err != nil && u.active() > 0 {
			s.begin(u, err)
		}
	}
	if err != nil {
		s.explain(err)
	}
}

// explain reports the interruptions that are not reported yet, if err is their reason or
// shows that none will come. mu is held.
func (s *subscriber) explain(err error) {
	switch {
	case isReason(err):
		s.report(err)
	case !closedWithoutReason(err):
		s.report(nil)
	case s.late == nil && !s.closed:
		s.late = time.AfterFunc(s.opts.BackoffMin+reasonWait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.late = nil
			s.report(nil)
		})
	}
}

// report reports the interruptions that are not reported yet, with err, or with the causes
// known before if err is nil. mu is held.
func (s *subscriber) report(err error) {
	for u := range s.subs {
		u.report(err)
	}
}

// failed notes that no connection could be made. If there is nobody to come back for,
// those who are just subscribing get the error: at the start it says more than a
// wait.
func (s *subscriber) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.explain(err)
	for u := range s.subs {
		if u.interrupted {
			return
		}
	}
	s.attempted(err)
}

// close ends all subscriptions for good and returns what to wait for.
func (s *subscriber) close() []<-chan struct{} {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
		if s.late != nil {
			s.late.Stop()
		}
	}
	subs := make([]*subscription, 0, len(s.subs))
	for u := range s.subs {
		subs = append(subs, u)
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
	for u := range s.subs {
		st.Subscriptions += u.active()
	}
}
