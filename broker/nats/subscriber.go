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

// subscriber holds the subscriptions and delivers messages to them. It has no goroutine: the
// reading goroutine of the connection delivers, and the sender makes connections.
type subscriber struct {
	names *naming
	opts  *Options
	// needConn wakes the sender.
	needConn    func()
	propagation *propagation
	log         *slog.Logger
	own         *identity // of this broker
	counts      *inbox.Counts
	waits       *inbox.Waits // of the reader, for all receivers

	mu      sync.Mutex
	closed  bool
	closing chan struct{} // closed with closed
	subs    map[*subscription]struct{}
	adding  int         // running calls of Subscribe and Add
	next    *attempt    // the next attempt to connect
	late    *time.Timer // runs while interruptions wait for their reason
	conn    *conn       // the connection with all live filters; nil while there is none
	// states are the filters by their subscription on the server, including those of a connection
	// that is being prepared.
	states map[*nats.Subscription]*filterState

	// holders are the subscriptions in which a filter is live.
	holders map[broker.Filter][]*subscription
	// spaces counts the live filters of each namespace.
	spaces map[space]int
	// forget is called when a namespace has no live filter any more.
	forget func()

	// routes and the targets in cached have caches of subscriptions, which are valid until the next
	// call of changed. Only the reading goroutine uses routes.
	routes atomic.Pointer[routes]
	cached []*target
}

// space is one namespace of one protocol.
type space struct {
	protocol broker.Protocol
	ns       string
}

func spaceOf(f broker.Filter) space { return space{f.Channel().Protocol(), f.Channel().Namespace()} }

func newSubscriber(names *naming, opts *Options, p *propagation, own *identity, need, forget func()) *subscriber {
	s := &subscriber{
		names: names, opts: opts, propagation: p, log: opts.Logger, own: own, needConn: need, counts: inbox.NewCounts(), waits: inbox.NewWaits(opts.SlowReceiver), closing: make(chan struct{}),
		subs: map[*subscription]struct{}{}, states: map[*nats.Subscription]*filterState{},
		next: &attempt{done: make(chan struct{})}, holders: map[broker.Filter][]*subscription{},
		spaces: map[space]int{}, forget: forget,
	}
	s.routes.Store(&routes{})
	return s
}

// changed empties the caches of subscriptions. Nothing then refers to removed subscriptions. mu is
// held.
func (s *subscriber) changed() {
	s.routes.Store(&routes{})
	for _, a := range s.cached {
		a.local.Store(nil)
	}
	clear(s.cached)
	s.cached = s.cached[:0]
}

// subscribe makes a subscription and waits until its filters are live.
func (s *subscriber) subscribe(ctx context.Context, r broker.Receiver, filters []broker.Filter) (*subscription, error) {
	u := newSubscription(s, r)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, broker.ErrClosed
	}
	s.subs[u] = struct{}{}
	s.mu.Unlock()
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

// remove removes filters from u at once. It returns a channel that is closed when no call for them
// is running any more.
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
	// Retract is needed also if no filter was removed: the running call of the receiver may have
	// a message of a filter that an earlier Remove removed without waiting for it.
	return u.in.Retract(u.matches)
}

// drop closes a subscription. Its goroutine may still be in a call.
func (s *subscriber) drop(u *subscription) {
	s.mu.Lock()
	for _, e := range u.filters {
		s.deactivate(e)
		s.end(e)
	}
	u.interrupted = false // Resumed is not called any more
	delete(s.subs, u)
	s.mu.Unlock()
	u.in.Shut()
}

// needed reports whether a connection is needed.
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

// prepare subscribes to all live filters over a new connection.
func (s *subscriber) prepare(ctx context.Context, l *conn) error {
	s.mu.Lock()
	for u := range s.subs {
		for _, e := range u.filters {
			if !e.active {
				continue // the running Add subscribes
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
		// The server may report refusals of the account only after its reply to the first ping.
		return l.ping(ctx, s.opts.ProbeTimeout)
	}
	return s.settle(ctx, l)
}

// connected begins to use a prepared connection, and ends the interruptions of subscriptions whose
// filters are all live.
func (s *subscriber) connected(l *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyViolations(l)
	for _, e := range s.states {
		if !e.grant() && errors.Is(e.refused, nats.ErrMaxSubscriptionsExceeded) {
			return e.violation() // it is unknown which of them exceed the maximum
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

// attempted ends the waits for the present attempt to connect. mu is held.
func (s *subscriber) attempted(err error) {
	s.next.err = err
	close(s.next.done)
	s.next = &attempt{done: make(chan struct{})}
}

// reasonWait is how long, in addition to the first pause, receivers wait for the reason of a lost
// connection. A server often gives the reason only when it refuses the next connection.
const reasonWait = 250 * time.Millisecond

// disconnected records that the connection was lost. err is the cause; it is nil when the broker
// is closing. With a cause, each subscription that has filters is interrupted.
//
// A server that closes a connection without a reason usually refuses the next connection with it:
// the user was removed, for example. The reports wait for that, for a short time.
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

// explain reports the interruptions that have not been reported yet, if err is their reason or
// shows that there is no other reason. mu is held.
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

// report reports the interruptions that have not been reported yet, with err, or with their first
// known causes if err is nil. mu is held.
func (s *subscriber) report(err error) {
	for u := range s.subs {
		u.report(err)
	}
}

// failed records that no connection could be made. If no subscription is interrupted, the running
// Subscribe calls return the error at once.
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

// close closes all subscriptions and returns the channels to wait for.
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
