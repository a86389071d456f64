package backplane

import (
	"context"

	"github.com/crossroom/crossroom/internal/rooms"
)

// Drain takes the node out of its fleet without a rush of its clients to the other nodes. It notifies the other nodes
// (Peer.Leaving), makes Health.Ready false, and calls hand for each member of each namespace, once: perSecond members
// in a second on average, at random intervals between a half and one and a half of the average. When no members are
// left, or ctx ends, Drain closes the node, as Close does.
//
// hand makes the member's client connect to another node, for example by closing its connection. It must not block:
// Drain makes the calls one at a time, on the goroutine of its caller. A panic is reported as a *PanicError. Drain
// waits until the member is removed with Namespace.Remove, which hand may do, or call later. Until Close the node works
// as before, also for members that are added meanwhile, to which hand is applied too.
//
// Drain returns nil if all members have left and Close succeeded. If ctx ends first, Drain closes the node without
// waiting, and returns the context's error; members that remain stay registered, as after Close. A call of Close after
// Drain is not necessary. If perSecond is not positive, or hand is nil, the error is an *OptionError. A second call, a
// call after Close, and one that Close interrupts return ErrClosed. Users of package hub call Hub.Drain instead.
func (n *Node) Drain(ctx context.Context, perSecond float64, hand func(ns *Namespace, m Member)) error {
	if ctx == nil {
		return ErrNilContext
	}
	switch {
	case !(perSecond > 0):
		return &OptionError{Option: "perSecond", Reason: "not positive"}
	case hand == nil:
		return &OptionError{Option: "hand", Reason: "nil"}
	case !n.leave():
		return ErrClosed
	}
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	err := rooms.Drain(ended, perSecond, func() (all []rooms.Draining[Member]) {
		for _, ns := range n.live() {
			all = append(all, rooms.Draining[Member]{Rooms: ns.rooms, Hand: func(m Member) {
				defer ns.recovered("Drain")
				hand(ns, m)
			}})
		}
		return all
	})
	if err != nil && ctx.Err() == nil {
		return ErrClosed // Close was called
	}
	if closed := n.Close(ctx); err == nil {
		err = closed
	}
	return err
}

// leave begins to drain. It returns false if that was done, or the node is closed.
func (n *Node) leave() bool {
	n.mu.Lock()
	open, closed := len(n.namespaces) > 0, n.closed
	n.mu.Unlock()
	if closed || n.draining.Swap(true) {
		return false
	}
	n.health.changed()
	if open {
		n.members.Leave()
	}
	return true
}
