package memorybroker

import (
	"context"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// subscription implements broker.Subscription. It has filters, and an inbox for the messages that they select.
type subscription struct {
	b  *Broker
	in *inbox.Inbox

	// Bus.mu guards these.
	filters map[broker.Filter]*route
	everies int  // number of filters that are not Exactly
	cut     bool // the link is interrupted: no message arrives
}

func newSubscription(b *Broker, r broker.Receiver) *subscription {
	opts := &b.bus.opts
	// Pass only the methods of Receiver: a publisher must not call TryDeliver, because the receiver may be the
	// publisher's own.
	in := inbox.New(struct{ broker.Receiver }{r}, inbox.Options{
		Messages: opts.QueueMessages, Bytes: opts.QueueBytes, Counts: b.counts,
	})
	return &subscription{b: b, in: in, filters: map[broker.Filter]*route{}}
}

// run calls the receiver.
func (s *subscription) run() {
	defer s.b.forget(s)
	s.in.Run()
}

// mixed reports whether a message may match two filters. The caller holds Bus.mu.
func (s *subscription) mixed() bool { return s.everies > 0 && len(s.filters) > s.everies }

// matches reports whether one of the filters selects ch. The caller holds Bus.mu.
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

// Remove implements broker.Subscription. If ctx ends while it waits for a running call of the receiver, the filters
// are removed all the same.
func (s *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if s.in.IsShut() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return lifecycle.Wait(ctx, s.b.bus.remove(s, filters))
}

// Close implements broker.Subscription. If ctx ends while it waits for a running call of the receiver, that call is
// the last.
func (s *subscription) Close(ctx context.Context) error {
	s.b.bus.removeAll(s)
	return lifecycle.Wait(ctx, s.in.Done())
}
