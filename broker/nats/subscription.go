package natsbroker

import (
	"context"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// subscription implements broker.Subscription: a set of filters, and an inbox for the messages
// that they select.
type subscription struct {
	s          *subscriber
	in         *inbox.Inbox
	publishers publishers // belongs to the reading goroutine

	// The subscriber's mutex guards these.
	filters     map[broker.Filter]*filterState
	interrupted bool
	unreported  error // the cause of an interruption that the receiver does not know yet; else nil
}

func newSubscription(s *subscriber, r broker.Receiver) *subscription {
	in := inbox.New(r, inbox.Options{
		Bytes: s.opts.ReceiveBuffer, PerMessage: inbox.MessageCost, Waits: s.waits, Counts: s.counts,
	})
	return &subscription{s: s, in: in, publishers: publishers{own: s.own}, filters: map[broker.Filter]*filterState{}}
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
	u.in.Interrupt(err)
}

// matches reports whether a live filter selects ch. The subscriber's mutex is held.
func (u *subscription) matches(ch broker.Channel) bool {
	if e := u.filters[broker.Exactly(ch)]; e != nil && e.active {
		return true
	}
	switch ch.Kind() {
	case broker.KindRoom, broker.KindBroadcast:
		e := u.filters[ch.Protocol().EveryRoom(ch.Namespace())]
		return e != nil && e.active
	case broker.KindRequests:
		e := u.filters[ch.Protocol().Uncounted(ch.Namespace())]
		return e != nil && e.active
	}
	return false
}

// active counts the live filters. The subscriber's mutex is held.
func (u *subscription) active() int {
	n := 0
	for _, e := range u.filters {
		if e.active {
			n++
		}
	}
	return n
}

// Add implements broker.Subscription.
func (u *subscription) Add(ctx context.Context, filters ...broker.Filter) error {
	return u.s.add(ctx, u, filters)
}

// Remove implements broker.Subscription. If the context ends while the receiver is still busy, the
// filters are removed nevertheless.
func (u *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return lifecycle.Wait(ctx, u.s.remove(u, filters))
}

// Close implements broker.Subscription. If its context ends first, Close returns the context's
// error. The subscription is closed nevertheless: only a call of the receiver that was already
// running may continue.
func (u *subscription) Close(ctx context.Context) error {
	u.s.drop(u)
	return lifecycle.Wait(ctx, u.in.Done())
}
