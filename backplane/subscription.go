package backplane

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/backplane/internal/interest"
	"github.com/crossroom/crossroom/broker"
)

// manyNamespaces is from how many namespaces of a node on, in automatic mode, a further one
// begins dynamic: a Redis server compares each message with each pattern.
const manyNamespaces = 64

func (ns *Namespace) interestOptions() interest.Options {
	n := ns.node
	o := interest.Options{
		Protocol: ns.protocol, Namespace: ns.name, Members: ns.rooms, Workers: &ns.workers,
		Dynamic: ns.opts.Subscription == DynamicSubscription || n.caps.OnlyExactly,
		Lost:    ns.lost,
		Refused: func(err error) { n.monitor.Report(&OpError{Op: "subscribe to rooms", Namespace: ns.name, Err: err}) },
	}
	// A node on several links, and an observer of unwanted broadcasts, need all of them.
	if ns.opts.Subscription == AutomaticSubscription && !n.caps.OnlyExactly && ns.extra.OnBroadcast == nil && !ns.extra.Shared && !n.monitor.Observers.Unwanted {
		n.mu.Lock()
		o.Automatic, o.Dynamic = true, len(n.namespaces) >= manyNamespaces
		n.mu.Unlock()
	}
	return o
}

// lost takes all members out of rooms that cannot be subscribed to.
func (ns *Namespace) lost(rooms []string, err error) {
	d := new(delivery)
	d.FindAndLeave(ns.rooms, filter{Rooms: rooms}, rooms)
	ns.workers.Go(func() { ns.moved(d, true, rooms) }) // a member may join another room
	ns.node.monitor.Report(&OpError{Op: "subscribe to room", Namespace: ns.name, Name: rooms[0], Err: err})
}

// enter has change put members into rooms when these are subscribed to. Its error is
// ErrClosed, or an *OpError with the context's or the broker's error. After an error, change
// was not called.
func (ns *Namespace) enter(ctx context.Context, op, name string, rooms []string, change func()) error {
	switch err := ns.interest.Enter(ctx, rooms, change); {
	case err == nil:
		return nil
	case errors.Is(err, broker.ErrClosed):
		return ErrClosed
	default:
		return ns.failed(&OpError{Op: op, Namespace: ns.name, Name: name, Err: err})
	}
}
