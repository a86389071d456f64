package backplane

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// A node that leaves answers what it was asked. Crossroom nodes know from its goodbye that
// they need not wait for it. Other servers count the subscribers of the request channel,
// then publish a request and wait for as many answers. So a namespace that closes
//
//  1. goes on hearing requests by a filter that is not counted, and gives up the one that is;
//  2. hears for lingerTime what those ask that had counted it before;
//  3. answers these requests when answerDelay has passed. An asker that had not counted it
//     has all its answers by then, and does not take this one for that of another server.
const (
	lingerTime  = 200 * time.Millisecond
	answerDelay = 200 * time.Millisecond
)

// drain does so, until ctx ends, and closes the subscription.
func (ns *Namespace) drain(ctx context.Context) error {
	if ns.retire(ctx) {
		pause(ctx, lingerTime)
	}
	err := ns.sub.Close(ctx)
	ns.inbound.queue.Close()
	ns.desk.Release(func() { pause(ctx, answerDelay) })
	return err
}

// retire gives up what others count. It reports whether servers are there that may have
// counted this one.
func (ns *Namespace) retire(ctx context.Context) bool {
	n := ns.node
	if n.members.Down() || !n.caps.CountsSubscribers {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, n.opts.RequestsTimeout)
	defer cancel()
	if err := ns.sub.Add(ctx, ns.protocol.Uncounted(ns.name)); err != nil {
		return false
	}
	ns.desk.Hold()
	err := ns.sub.Remove(ctx,
		broker.Exactly(ns.protocol.Requests(ns.name)),
		broker.Exactly(ns.protocol.Responses(ns.name)),
		broker.Exactly(ns.protocol.NodeResponses(ns.name, n.id)))
	if err != nil {
		return false
	}
	foreign, err := ns.requests.ForeignNow(ctx)
	return err != nil || foreign > 0
}

// pause waits, until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
