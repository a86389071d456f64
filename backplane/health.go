package backplane

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// health is what a node records for Health: its interrupted subscriptions, and the outcome of its counts.
type health struct {
	mu            sync.Mutex
	down          map[membership.Namespace]struct{} // interrupted subscriptions; the zero key is the control channel
	began, ended  time.Time                         // of the interruption of any of them
	receivingErr  error                             // of the last interruption
	publishingErr error                             // of the last interruption or loss
	counted       bool                              // the last count succeeded
	countedSince  time.Time                         // since when counts do what the last one did
	countingErr   error
	outage        outage
	waiting       chan struct{} // closed at the next change; nil: no call of Ready waits
}

// controlKey stands for the subscription to the control channel.
var controlKey membership.Namespace

func (h *health) interrupted(key membership.Namespace, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down == nil {
		h.down = make(map[membership.Namespace]struct{})
	}
	if len(h.down) == 0 {
		h.began = time.Now()
	}
	h.down[key] = struct{}{}
	h.receivingErr, h.publishingErr = err, err
	h.outage.interrupted(err, h.outageEnds)
}

// resumed records that a subscription is live again, or closed.
func (h *health) resumed(key membership.Namespace) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, was := h.down[key]; !was {
		return
	}
	if delete(h.down, key); len(h.down) == 0 {
		h.ended = time.Now()
		h.outage.resumed()
		h.wake()
	}
}

// lost records a loss.
func (h *health) lost(l broker.Loss) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.publishingErr = l.Err
	h.outage.loses(l, h.outageEnds)
}

// count records the outcome of a count of subscribers: err, or nil.
func (h *health) count(err error) {
	if errors.Is(err, context.Canceled) {
		return // by the caller of a query
	}
	_, some := errors.AsType[*broker.InexactError](err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok := err == nil || some; ok != h.counted || h.countedSince.IsZero() {
		h.counted, h.countedSince = ok, time.Now()
	}
	if err != nil {
		h.countingErr = err
	}
}

// changed wakes the calls of Ready: the node may be ready.
func (h *health) changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wake()
}

// wake is changed for a caller that holds h.mu.
func (h *health) wake() {
	if h.waiting != nil {
		close(h.waiting)
		h.waiting = nil
	}
}

// change returns a channel that is closed at the next change.
func (h *health) change() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		h.waiting = make(chan struct{})
	}
	return h.waiting
}

// Health returns the state of the node's link to its fleet. It does no I/O and does not wait, so a readiness probe may
// call it: its Ready is the probe's result. A liveness probe must not use it, because a node reconnects by itself, and
// a process that is restarted during an outage only loses its members.
//
// Health reports an outage at once if the broker notices it. Any other outage, such as a frozen server, it reports
// after about three quarters of Options.PeerTimeout, because the node does not receive its own heartbeats. Health is
// the zero value before the first namespace is open and after Close.
func (n *Node) Health() observe.Health {
	n.mu.Lock()
	open := !n.closed && len(n.namespaces) > 0
	n.mu.Unlock()
	draining := n.draining.Load()
	if !open {
		return observe.Health{}
	}
	proof := n.members.Proven()
	out := observe.Health{
		Subscribed: observe.Direction{Up: proof.Receives, Since: proof.ReceivesSince},
		Publishing: observe.Direction{Up: proof.Publishes, Since: proof.PublishesSince},
	}
	h := &n.health
	h.mu.Lock()
	defer h.mu.Unlock()
	out.Subscribed.Err, out.Publishing.Err = h.receivingErr, h.publishingErr
	switch {
	case len(h.down) > 0:
		out.Subscribed.Up, out.Subscribed.Since = false, h.began
	case out.Subscribed.Up && h.ended.After(out.Subscribed.Since):
		out.Subscribed.Since = h.ended
	}
	out.Queries = out.Subscribed
	switch {
	case !out.Subscribed.Up:
	case !out.Publishing.Up:
		out.Queries = out.Publishing
	case n.caps.CountsSubscribers && !h.countedSince.IsZero():
		out.Queries = observe.Direction{Up: h.counted, Since: h.countedSince, Err: h.countingErr}
	}
	out.Ready = out.Subscribed.Up && out.Publishing.Up && !draining
	return out
}

// Ready waits until Health reports that the node is ready: a namespace is open, and the node receives and publishes. It
// returns nil at once if that is so already. It returns the context's error, or ErrClosed, also if Drain has been
// called.
func (n *Node) Ready(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	for {
		changed := n.health.change() // before looking
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case n.life.Err() != nil || n.draining.Load():
			return ErrClosed
		case n.Health().Ready:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-n.life.Done():
		}
	}
}
