package memorybroker

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// errSlow is why a subscription whose queue was full missed messages.
var errSlow = errors.New("memory broker: receiver too slow, queue full")

// subscription implements broker.Subscription: filters, and an inbox for what they select.
type subscription struct {
	b  *Broker
	in *inbox.Inbox

	// Bus.mu guards these.
	filters map[broker.Filter]*route
	everies int  // how many of them are not Exactly
	cut     bool // the link is interrupted: nothing comes in
}

func newSubscription(b *Broker, r broker.Receiver) *subscription {
	opts := &b.bus.opts
	// Only the methods of a Receiver: a publisher must not call those of a TryReceiver, which may
	// be its own.
	in := inbox.New(struct{ broker.Receiver }{r}, inbox.Options{
		Messages: opts.QueueMessages, Bytes: opts.QueueBytes, Slow: errSlow, Counts: b.counts,
	})
	return &subscription{b: b, in: in, filters: map[broker.Filter]*route{}}
}

// run calls the receiver.
func (s *subscription) run() {
	defer s.b.forget(s)
	s.in.Run()
}

// mixed says that a message may match two filters. Bus.mu is held.
func (s *subscription) mixed() bool { return s.everies > 0 && len(s.filters) > s.everies }

// matches reports whether one of the filters selects ch. Bus.mu is held.
func (s *subscription) matches(ch broker.Channel) bool {
	if s.filters[broker.Exactly(ch)] != nil {
		return true
	}
	if s.everies == 0 {
		return false
	}
	switch ch.Kind() {
	case broker.KindBroadcast, broker.KindRoom:
		return s.filters[ch.Protocol().EveryRoom(ch.Namespace())] != nil
	case broker.KindRequests:
		return s.filters[ch.Protocol().Uncounted(ch.Namespace())] != nil
	}
	return false
}

// Add implements broker.Subscription.
func (s *subscription) Add(ctx context.Context, filters ...broker.Filter) error {
	return s.b.subscribe(ctx, s, filters)
}

// Remove implements broker.Subscription. If ctx ends while it waits for a running
// call of the receiver, the filters are removed all the same.
func (s *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if s.in.IsShut() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return lifecycle.Wait(ctx, s.b.bus.remove(s, filters))
}

// Close implements broker.Subscription. If ctx ends while it waits for a running
// call of the receiver, that call will be the last.
func (s *subscription) Close(ctx context.Context) error {
	s.b.bus.removeAll(s)
	return lifecycle.Wait(ctx, s.in.Done())
}
