package redisbroker

import (
	"context"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// subscription implements broker.Subscription: a set of filters, and an inbox for the messages
// that they select.
type subscription struct {
	s  *subscriber
	in *inbox.Inbox

	// The subscriber's mutex guards these.
	filters    map[broker.Filter]*entry
	down       bool            // interrupted
	unreported error           // the cause of an interruption that the receiver does not know yet; else nil
	broken     map[*entry]bool // while down: the filters whose messages are not delivered before Resumed
	missing    int             // of these, not live
}

func newSubscription(s *subscriber, r broker.Receiver) *subscription {
	in := inbox.New(r, inbox.Options{Bytes: s.opts.ReceiveBuffer, PerMessage: inbox.MessageCost, Waits: s.waits, Counts: s.counts})
	return &subscription{s: s, in: in, filters: map[broker.Filter]*entry{}}
}

// report reports an interruption to the receiver, unless it has been reported. The cause is err,
// or the first known cause if err is nil. The subscriber's mutex is held.
func (u *subscription) report(err error) {
	if u.unreported == nil {
		return
	}
	if err == nil {
		err = u.unreported
	}
	u.unreported = nil
	u.in.Interrupt(u.gap(err))
}

// matches reports whether one of the filters selects ch. The subscriber's mutex is held.
func (u *subscription) matches(ch broker.Channel) bool {
	if u.filters[broker.Exactly(ch)] != nil {
		return true
	}
	switch ch.Kind() {
	case broker.KindRoom, broker.KindBroadcast:
		return u.filters[ch.Protocol().EveryRoom(ch.Namespace())] != nil
	case broker.KindRequests:
		return u.filters[ch.Protocol().Uncounted(ch.Namespace())] != nil
	}
	return false
}

// Add implements broker.Subscription.
func (u *subscription) Add(ctx context.Context, filters ...broker.Filter) error {
	return u.s.add(ctx, u, filters)
}

// Remove implements broker.Subscription. It also waits until the server has unsubscribed from
// filters that no other subscription of this broker has. Then the server does not count this node
// any more. If the context ends before that, or the receiver is still busy, the filters are
// removed nevertheless.
func (u *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return lifecycle.Wait(ctx, u.s.remove(u, filters)...)
}

// Close implements broker.Subscription. If its context ends first, Close returns the context's
// error. The subscription is closed nevertheless: only a call of the receiver that was already
// running may continue.
func (u *subscription) Close(ctx context.Context) error {
	waits := u.s.drop(u)
	return lifecycle.Wait(ctx, append(waits, u.in.Done())...)
}
