package redisbroker

import (
	"context"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// subscription implements broker.Subscription: filters, and an inbox for what they
// select.
type subscription struct {
	s  *subscriber
	in *inbox.Inbox

	// The subscriber's mutex guards these.
	filters    map[broker.Filter]*entry
	down       bool  // interrupted
	unreported error // why, while the receiver does not know yet; nil if it does
	missing    int   // while down: filters that are not live
}

func newSubscription(s *subscriber, r broker.Receiver) *subscription {
	in := inbox.New(r, inbox.Options{Bytes: s.opts.ReceiveBuffer, PerMessage: inbox.MessageCost, Counts: s.counts})
	return &subscription{s: s, in: in, filters: map[broker.Filter]*entry{}}
}

// report reports an interruption to the receiver, unless that is done: with err, or with the
// cause known before if err is nil. The subscriber's mutex is held.
func (u *subscription) report(err error) {
	if u.unreported == nil {
		return
	}
	if err == nil {
		err = u.unreported
	}
	u.unreported = nil
	u.in.Interrupt(err)
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

// Remove implements broker.Subscription. It also waits until the server has let go
// of what nobody else here wants, so that it is not counted any more; if the context
// ends before, or the receiver is still busy, the filters are removed all the same.
func (u *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return lifecycle.Wait(ctx, u.s.remove(u, filters)...)
}

// Close implements broker.Subscription. If its context ends first it returns its
// error; the subscription is closed all the same, and only a call of the receiver
// that was running may still be.
func (u *subscription) Close(ctx context.Context) error {
	waits := u.s.drop(u)
	return lifecycle.Wait(ctx, append(waits, u.in.Done())...)
}
