package natsbroker

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
)

// entry is a filter of one subscription, and its subscription on the server.
type entry struct {
	u       *subscription
	filter  broker.Filter
	subject string
	sub     *nats.Subscription // over the present link, nil if there is none
	live    bool               // Subscribe or Add has succeeded
	joining int                // calls of these underway
	parting *time.Timer        // ends it; nil if it is not about to end
}

// parting is how long a filter that is removed stays subscribed to on the server while
// another one of the same subscription selects the same. The server may be about to
// send a message for which it looked up subscribers before it heard of the other one:
// without this nobody would get it. Longer than any server holds one message.
const parting = time.Second

// subscriber is who wants to hear what, and passes on what arrives. It has no
// goroutine of its own: the reading one of the link delivers, and the keeper makes
// links.
type subscriber struct {
	names *naming
	opts  *Options
	// need wakes the keeper.
	need   func()
	proof  *witnesses
	self   uint64 // frame.from of the messages of this broker
	counts *inbox.Counts

	mu      sync.Mutex
	closed  bool
	closing chan struct{} // closed with closed
	subs    map[*subscription]struct{}
	asking  int      // calls of Subscribe and Add underway
	next    *attempt // to have a link
	link    *link    // with everything live; nil while there is none
	// of are the entries by their subscription on the server; those of a link that is
	// being prepared too.
	of map[*nats.Subscription]*entry

	// holders are the subscriptions that have a filter, live.
	holders map[broker.Filter][]*subscription
	// turn changes, under mu, with whatever decides where messages go.
	turn atomic.Uint64

	// The reading goroutine's own: where messages go, good for one turn.
	routes map[origin]*route
	routed uint64
}

// attempt is what those who subscribe wait for while there is no link.
type attempt struct {
	done chan struct{}
	err  error // after done is closed; nil: look again
}

func newSubscriber(names *naming, opts *Options, proof *witnesses, self uint64, need func()) *subscriber {
	return &subscriber{
		names: names, opts: opts, proof: proof, self: self & (1<<56 - 1), need: need, counts: inbox.NewCounts(), closing: make(chan struct{}),
		subs: map[*subscription]struct{}{}, of: map[*nats.Subscription]*entry{},
		next: &attempt{done: make(chan struct{})}, holders: map[broker.Filter][]*subscription{}, routes: map[origin]*route{},
	}
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

// add makes filters of u live: all of them or, on error, none.
func (s *subscriber) add(ctx context.Context, u *subscription, filters []broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range filters {
		if err := f.Channel().Validate(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.asking++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.asking--
		s.mu.Unlock()
	}()
	for {
		l, err := s.await(ctx, u)
		if err != nil {
			return err
		}
		entries, err := s.join(l, u, filters)
		if err == nil && len(entries) > 0 {
			err = s.settle(ctx, l)
		}
		if again, err := s.joined(ctx, l, u, entries, err); !again {
			return err
		}
	}
}

// await returns the link, once there is one.
func (s *subscriber) await(ctx context.Context, u *subscription) (*link, error) {
	for {
		s.mu.Lock()
		l, next, closed := s.link, s.next, s.closed
		s.mu.Unlock()
		switch {
		case closed || u.in.IsShut():
			return nil, broker.ErrClosed
		case l != nil:
			return l, nil
		}
		s.need()
		select {
		case <-next.done:
			if next.err != nil {
				return nil, next.err
			}
		case <-s.closing:
		case <-u.in.Quit():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// join subscribes on the server to the filters that u does not have.
func (s *subscriber) join(l *link, u *subscription, filters []broker.Filter) ([]*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return nil, net.ErrClosed // what it subscribes to there would pass for live
	}
	var entries []*entry
	for _, f := range filters {
		e := u.entries[f]
		if e == nil {
			e = &entry{u: u, filter: f, subject: s.names.subscription(f)}
			u.entries[f] = e
		}
		if e.live {
			continue
		}
		e.stay()
		e.joining++
		entries = append(entries, e)
		if err := s.subscribeOn(l, e); err != nil {
			return entries, err
		}
	}
	return entries, nil
}

// subscribeOn sends an entry's subscription over a link. mu is held.
func (s *subscriber) subscribeOn(l *link, e *entry) error {
	if e.sub != nil {
		return nil
	}
	sub, err := l.nc.ChanSubscribe(e.subject, l.inbox)
	if err != nil {
		return err
	}
	e.sub = sub
	s.of[sub] = e
	s.turn.Add(1)
	return nil
}

// settle waits until what was subscribed to before is live, for publishers anywhere.
func (s *subscriber) settle(ctx context.Context, l *link) error {
	if err := l.ping(ctx, s.opts.ProbeTimeout); err != nil {
		return err
	}
	return s.proof.confirm(ctx, l)
}

// joined ends what join began. again says that the link has ended meanwhile.
func (s *subscriber) joined(ctx context.Context, l *link, u *subscription, entries []*entry, err error) (again bool, _ error) {
	denied := map[string]error(nil)
	if err == nil {
		denied = l.denials(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var refusal error
	for _, e := range entries {
		e.joining--
		if because := denied[subscribing+e.subject]; because != nil && refusal == nil {
			refusal = fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), because)
		}
	}
	closed := s.closed || u.in.IsShut()
	if err == nil && refusal == nil && s.link == l && !closed {
		for _, e := range entries {
			s.enliven(e)
		}
		return false, nil
	}
	for _, e := range entries {
		if !e.live {
			s.part(e)
		}
	}
	switch {
	case closed:
		return false, broker.ErrClosed
	case ctx.Err() != nil:
		return false, ctx.Err()
	case refusal != nil:
		return false, refusal
	case s.link == l && err != nil:
		select {
		case <-l.wire.broken: // it is about to be taken away
		default:
			return false, err
		}
	}
	return true, nil
}

// enliven makes an entry live, and deaden ends that. mu is held.
func (s *subscriber) enliven(e *entry) {
	if !e.live {
		e.live = true
		s.holders[e.filter] = append(slices.Clip(s.holders[e.filter]), e.u)
		s.turn.Add(1)
	}
}

func (s *subscriber) deaden(e *entry) {
	if !e.live {
		return
	}
	e.live = false
	s.turn.Add(1)
	rest := slices.DeleteFunc(slices.Clone(s.holders[e.filter]), func(u *subscription) bool { return u == e.u })
	if len(rest) > 0 {
		s.holders[e.filter] = rest
	} else {
		delete(s.holders, e.filter)
	}
}

// part ends an entry that is not live, soon if that must not be at once. mu is held.
func (s *subscriber) part(e *entry) {
	if e.joining > 0 {
		return
	}
	if !e.overlapped() {
		s.leave(e)
		return
	}
	e.stay()
	var t *time.Timer
	t = time.AfterFunc(parting, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.parting == t {
			s.leave(e)
		}
	})
	e.parting = t
}

// overlapped reports whether a live filter of the same subscription selects something that
// e, which is not live, selects too. The subscriber's mutex is held.
func (e *entry) overlapped() bool {
	if !e.filter.IsEveryRoom() {
		return e.u.matches(e.filter.Channel()) // of many rooms none needs a look at all others
	}
	for _, other := range e.u.entries {
		if other.live && e.filter.Matches(other.filter.Channel()) {
			return true
		}
	}
	return false
}

// stay undoes part. mu is held.
func (e *entry) stay() {
	if e.parting != nil {
		e.parting.Stop()
		e.parting = nil
	}
}

// leave ends an entry, and its subscription on the server. mu is held.
func (s *subscriber) leave(e *entry) {
	e.stay()
	delete(e.u.entries, e.filter)
	if e.sub != nil {
		delete(s.of, e.sub)
		_ = e.sub.Unsubscribe() // fails if the link has ended, and then it is no more
		e.sub = nil
	}
}

// remove takes filters from u at once, and returns what to wait for until no call
// for them is running.
func (s *subscriber) remove(u *subscription, filters []broker.Filter) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range filters {
		e := u.entries[f]
		if e == nil || !e.live {
			continue
		}
		s.deaden(e)
		s.part(e)
	}
	s.turn.Add(1)
	// Also if nothing was removed now: the call may belong to what an earlier Remove
	// took out that did not wait for its end.
	return u.in.Retract(u.matches)
}

// drop ends a subscription for good. Its goroutine may still be in a call.
func (s *subscriber) drop(u *subscription) {
	s.mu.Lock()
	for _, e := range u.entries {
		s.deaden(e)
		s.leave(e)
	}
	u.down = false // no Resumed will come
	delete(s.subs, u)
	s.mu.Unlock()
	u.in.Shut()
}

// needed reports whether somebody wants a link.
func (s *subscriber) needed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking > 0 {
		return true
	}
	for u := range s.subs {
		if len(u.entries) > 0 {
			return true
		}
	}
	return false
}

// connected subscribes over a new link to everything, and ends all interruptions
// when it is live.
func (s *subscriber) connected(ctx context.Context, l *link) error {
	s.mu.Lock()
	n := 0
	for u := range s.subs {
		for _, e := range u.entries {
			if !e.live {
				continue // its Add will see to it
			}
			if err := s.subscribeOn(l, e); err != nil {
				s.mu.Unlock()
				return err
			}
			n++
		}
	}
	s.mu.Unlock()
	if n > 0 {
		if err := s.settle(ctx, l); err != nil {
			return err
		}
		denied := l.denials(ctx)
		s.mu.Lock()
		for subject, err := range denied {
			for _, e := range s.of {
				if subscribing+e.subject == subject {
					s.mu.Unlock()
					// It was allowed once. Without it the interruption cannot end.
					return fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), err)
				}
			}
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-l.wire.broken:
		return l.reason()
	default:
	}
	s.link = l
	s.turn.Add(1)
	for u := range s.subs {
		if u.down {
			u.down = false
			u.in.Resume()
		}
	}
	s.attempted(nil)
	return nil
}

// attempted tells those who wait for a link. mu is held.
func (s *subscriber) attempted(err error) {
	s.next.err = err
	close(s.next.done)
	s.next = &attempt{done: make(chan struct{})}
}

// disconnected notes that a link has ended. If that is a gap, with err for its reason,
// and not the end of the broker, it tells everybody who has something to miss and does
// not know yet.
func (s *subscriber) disconnected(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = nil
	s.turn.Add(1)
	clear(s.of)
	for u := range s.subs {
		for _, e := range u.entries {
			e.sub = nil
		}
		if err != nil && !u.down && u.active() > 0 {
			u.down = true
			u.in.Interrupt(err)
		}
	}
}

// failed notes that no link could be made. If there is nobody to come back for,
// those who are just subscribing get the error: at the start it says more than a
// wait.
func (s *subscriber) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range s.subs {
		if u.down {
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
