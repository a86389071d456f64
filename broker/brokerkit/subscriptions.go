package brokerkit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// SubscriptionsOptions are the limits of Subscriptions.
type SubscriptionsOptions struct {
	// Bytes limits the queue of one receiver. Each message counts with 128 bytes besides its payload; a larger message
	// is accepted alone. Zero or less means 16 MiB.
	Bytes int
	// Patience limits how long Deliver waits for receivers whose queue is full: for all of them together Patience at
	// once, and a quarter of the time in the long run. After that a receiver misses messages. Zero means 1 second.
	// Negative means no limit.
	Patience time.Duration
}

// Subscriptions are the subscriptions of one broker, for systems that send every message to every node: the broker
// calls Deliver for each received message. Every subscription has a queue, and a goroutine that calls its receiver.
//
// Subscribe is that of broker.Broker, so a broker may embed Subscriptions. All methods are safe for concurrent use,
// but Deliver, Interrupt and Resume keep their order only if they do not overlap.
type Subscriptions struct {
	opts    inbox.Options
	closing chan struct{} // closed with closed

	mu      sync.RWMutex
	closed  bool
	paused  bool
	live    chan struct{} // closed by Resume; nil without an interruption
	subs    map[*subscription]struct{}
	holders map[broker.Filter][]*subscription
}

// subscription implements broker.Subscription.
type subscription struct {
	s  *Subscriptions
	in *inbox.Inbox

	// Subscriptions.mu guards these.
	filters map[broker.Filter]struct{}
	down    bool // interrupted
}

// NewSubscriptions returns an empty set.
func NewSubscriptions(opts SubscriptionsOptions) *Subscriptions {
	positive(&opts.Bytes, 16<<20)
	var waits *inbox.Waits
	if opts.Patience >= 0 {
		waits = inbox.NewWaits(cmp.Or(opts.Patience, time.Second))
	}
	return &Subscriptions{
		opts:    inbox.Options{Bytes: opts.Bytes, PerMessage: inbox.MessageCost, Waits: waits, Counts: inbox.NewCounts()},
		closing: make(chan struct{}),
		subs:    map[*subscription]struct{}{}, holders: map[broker.Filter][]*subscription{},
	}
}

// Subscribe implements broker.Broker. Between Interrupt and Resume it waits. It returns the error of ctx, a
// *broker.NameError or broker.ErrClosed.
func (s *Subscriptions) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if r == nil {
		return nil, errors.New("broker: Subscribe: receiver is nil")
	}
	u := &subscription{s: s, in: inbox.New(r, s.opts), filters: map[broker.Filter]struct{}{}}
	if err := u.Add(ctx, filters...); err != nil {
		return nil, err
	}
	return u, nil
}

// Add implements broker.Subscription.
func (u *subscription) Add(ctx context.Context, filters ...broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range filters {
		if err := f.Channel().Validate(); err != nil {
			return err
		}
	}
	s := u.s
	if err := s.lockLive(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.closed || u.in.IsShut() {
		return broker.ErrClosed
	}
	for _, f := range filters {
		if _, ok := u.filters[f]; !ok {
			f = f.Clone() // the caller's names may share memory with something large
			u.filters[f] = struct{}{}
			s.holders[f] = append(s.holders[f], u)
		}
	}
	if _, ok := s.subs[u]; !ok {
		s.subs[u] = struct{}{}
		u.in.Pause(s.paused)
		go u.run() // its Close and the Close of Subscriptions wait for it
	}
	return nil
}

// run calls the receiver.
func (u *subscription) run() {
	defer func() {
		u.s.mu.Lock()
		defer u.s.mu.Unlock()
		delete(u.s.subs, u)
	}()
	u.in.Run()
}

// lockLive locks mu when there is no interruption. After an error mu is not locked.
func (s *Subscriptions) lockLive(ctx context.Context) error {
	for {
		s.mu.Lock()
		live := s.live
		if live == nil || s.closed {
			return nil
		}
		s.mu.Unlock()
		select {
		case <-live:
		case <-s.closing:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Remove implements broker.Subscription. If ctx ends while it waits for a running call of the receiver, the filters
// are removed all the same.
func (u *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if u.in.IsShut() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	u.s.mu.Lock()
	for _, f := range filters {
		u.drop(f)
	}
	running := u.in.Retract(u.matches)
	u.s.mu.Unlock()
	return lifecycle.Wait(ctx, running)
}

// Close implements broker.Subscription. If ctx ends while it waits for a running call of the receiver, that call is
// the last.
func (u *subscription) Close(ctx context.Context) error {
	u.end()
	return lifecycle.Wait(ctx, u.in.Done())
}

func (u *subscription) end() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	for f := range u.filters {
		u.drop(f)
	}
	u.in.Shut()
}

// drop removes a filter. The caller holds Subscriptions.mu.
func (u *subscription) drop(f broker.Filter) {
	if _, ok := u.filters[f]; !ok {
		return
	}
	delete(u.filters, f)
	others := slices.DeleteFunc(u.s.holders[f], func(other *subscription) bool { return other == u })
	if u.s.holders[f] = others; len(others) == 0 {
		delete(u.s.holders, f)
	}
}

// wider returns the filter beside Exactly that selects ch, or the zero Filter.
func wider(ch broker.Channel) broker.Filter {
	switch ch.Kind() {
	case broker.KindRoom, broker.KindBroadcast:
		return ch.Protocol().EveryRoom(ch.Namespace())
	case broker.KindRequests:
		return ch.Protocol().Uncounted(ch.Namespace())
	}
	return broker.Filter{}
}

// matches reports whether one of the filters selects ch. The caller holds Subscriptions.mu.
func (u *subscription) matches(ch broker.Channel) bool {
	_, exactly := u.filters[broker.Exactly(ch)]
	_, widely := u.filters[wider(ch)]
	return exactly || widely
}

// Deliver passes a message to every subscription that selects it, once. It keeps the payload, which must not change
// any more. It waits while a receiver's queue is full.
func (s *Subscriptions) Deliver(ch broker.Channel, payload []byte) {
	type target struct {
		u     *subscription
		epoch uint64
	}
	var few [8]target
	targets := few[:0]
	s.mu.RLock()
	exactly := s.holders[broker.Exactly(ch)]
	for _, u := range exactly {
		targets = append(targets, target{u, u.in.Epoch()})
	}
	for _, u := range s.holders[wider(ch)] {
		if !slices.Contains(exactly, u) {
			targets = append(targets, target{u, u.in.Epoch()})
		}
	}
	s.mu.RUnlock()
	for _, t := range targets {
		for t.u.in.Wants(&ch) && !t.u.in.Deliver(t.epoch, &ch, payload) {
			// A filter was removed at this moment, perhaps the one that selected the message.
			s.mu.RLock()
			wanted := t.u.matches(ch)
			t.epoch = t.u.in.Epoch()
			s.mu.RUnlock()
			if !wanted {
				break
			}
		}
	}
}

// Interrupt notifies every receiver that it may miss messages from here on, because of err. Until Resume the broker
// must not call Deliver, and Subscribe waits.
func (s *Subscriptions) Interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != nil || s.closed {
		return
	}
	s.live = make(chan struct{})
	for u := range s.subs {
		if u.down = len(u.filters) > 0; u.down {
			u.in.Interrupt(err)
		}
	}
}

// Resume ends the interruption.
func (s *Subscriptions) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return
	}
	close(s.live)
	s.live = nil
	for u := range s.subs {
		if u.down {
			u.down = false
			u.in.Resume()
		}
	}
}

// Pause stops the calls of all receivers, or resumes them, like a stopped process. It is for tests.
func (s *Subscriptions) Pause(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = on
	for u := range s.subs {
		u.in.Pause(on)
	}
}

// Close ends all subscriptions, and waits for their goroutines until ctx ends. A call of a receiver may then still be
// running. It returns the error of ctx.
func (s *Subscriptions) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	var subs []*subscription
	for u := range s.subs {
		subs = append(subs, u)
	}
	s.mu.Unlock()
	var done []<-chan struct{}
	for _, u := range subs {
		u.end()
		done = append(done, u.in.Done())
	}
	return lifecycle.Wait(ctx, done...)
}

// Fill writes the counters of subscribing into st.
func (s *Subscriptions) Fill(st *broker.Stats) {
	s.opts.Counts.Fill(st)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for u := range s.subs {
		st.Subscriptions += len(u.filters)
	}
}
