package backplane

import (
	"context"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// A node that leaves responds to pending requests. Crossroom nodes know from its goodbye that they need not wait for
// it. Other servers count the subscribers of the request channel, then publish a request and wait for as many
// responses. So a namespace that closes
//
//  1. keeps receiving requests by a filter that is not counted, and removes the one that is;
//  2. receives for lingerTime the requests of servers that had counted it before;
//  3. responds to these requests when answerDelay has elapsed. A server that had not counted it has all its responses by
//     then, and does not take this one for that of another server.
const (
	lingerTime  = 200 * time.Millisecond
	answerDelay = 200 * time.Millisecond
)

// drain does these three steps, until ctx ends, and closes the subscription.
func (ns *Namespace) drain(ctx context.Context) error {
	if ns.retire(ctx) {
		pause(ctx, lingerTime)
	}
	err := ns.sub.Close(ctx)
	ns.inbound.queue.Close()
	ns.desk.Release(func() { pause(ctx, answerDelay) })
	return err
}

// retire removes the filters that others count. It reports whether other servers may have counted this one.
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

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
