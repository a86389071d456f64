package backplane

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Peers are the other servers that hold a namespace, at one moment.
type Peers struct {
	// List has the Crossroom nodes that announced themselves in the namespace, sorted
	// by id. On a broker that counts, only those whose subscriptions it counts.
	List []Peer
	// Gone are the ids of announced nodes that the broker does not count any more, and
	// Ghosts of those that it does, although nothing was heard of them for PeerTimeout:
	// frozen processes, and dead ones whose connections the broker has not given up.
	// Both are sorted, and empty where the broker cannot count.
	Lost, Unresponsive []string
	// Unannounced is how many more servers the broker counts: Node.js servers, and
	// Crossroom nodes that have not introduced themselves yet. If it could not be asked
	// it is how many there were the last time.
	Foreign int
	// Counted: the broker was asked, and counted everybody.
	Counted bool
}

// Total is how many servers hold the namespace: all of these but those gone, and this
// node.
func (p *Peers) Total() int { return 1 + len(p.List) + len(p.Unresponsive) + p.Foreign }

// Peers says which other servers hold the namespace. The broker is asked, but none of
// them. If it does not answer, what is known from before is returned beside the error:
// the context's as it is, or an *OpError. If it could not count everywhere and Node.js
// servers may be missing, the error is an *OpError that wraps a *broker.InexactError,
// and if Crossroom nodes may be missing one that wraps ErrNotIntroduced.
// ErrClosed comes without a value.
func (ns *Namespace) Peers(ctx context.Context) (*Peers, error) {
	c, err := ns.headcount(ctx)
	if errors.Is(err, ErrClosed) {
		return nil, err
	}
	p := &Peers{
		Lost: c.gone, Unresponsive: c.ghosts,
		Foreign: c.others.Total, Counted: ns.node.caps.CountsSubscribers && err == nil && c.inexact == nil,
	}
	there := c.alive
	if c.err != nil {
		there, p.Lost, p.Foreign = c.gone, nil, c.unseen
	}
	p.List = peersOf(ns.node.members.PeersOf(there))
	return p, err
}

// Count returns how many servers hold the namespace, this one included: announced
// Crossroom nodes, and where the broker can count all others too. The error is the
// context's as it is, ErrClosed, or an *OpError. The number is zero beside it, but a
// lower bound if it wraps a *broker.InexactError or ErrNotIntroduced.
func (ns *Namespace) Count(ctx context.Context) (int, error) {
	c, err := ns.headcount(ctx)
	if c.err != nil {
		return 0, err
	}
	return 1 + c.peers(), err
}

// foreign is wire.Namespace's Foreign.
func (ns *Namespace) foreign(ctx context.Context) (wire.Unannounced, error) {
	if err := ns.ready(ctx); err != nil {
		return wire.Unannounced{}, err
	}
	switch {
	case !ns.node.caps.CountsSubscribers:
		return wire.Unannounced{Responding: -1}, nil
	case ns.node.members.Down():
		return wire.Unannounced{Responding: -1}, &OpError{Op: "count", Namespace: ns.name, Err: errInterrupted}
	}
	c, err := ns.headcountBy(ctx, func(ctx context.Context) (census, error) { return ns.census(ctx, wire.OpMembers) })
	return c.others, err
}

var errInterrupted = errors.New("the link is interrupted")

// headcount is the census for its own sake.
func (ns *Namespace) headcount(ctx context.Context) (c census, err error) {
	return ns.headcountBy(ctx, ns.listeners)
}

func (ns *Namespace) headcountBy(ctx context.Context, take func(context.Context) (census, error)) (c census, err error) {
	if err := ns.ready(ctx); err != nil {
		c.gone = ns.node.members.Serving(ns.key()).Alive
		c.unseen, c.err = int(ns.unannounced.Load()), err
		return c, err
	}
	limited, cancel := ns.deadline(ctx, 0)
	defer cancel()
	c, err = take(limited)
	switch {
	case err == nil && (c.unsettled || len(c.unknown) > 0):
		return c, &OpError{Op: "count", Namespace: ns.name, Err: ErrNotIntroduced}
	case err == nil && (c.inexact == nil || ns.protocol == broker.Native):
		return c, nil
	case err == nil:
		return c, &OpError{Op: "count", Namespace: ns.name, Err: c.inexact}
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return c, err
	case ns.closing.Load():
		return c, ErrClosed
	}
	return c, &OpError{Op: "count", Namespace: ns.name, Err: err}
}
