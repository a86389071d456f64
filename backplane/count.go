package backplane

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Peers are the other servers that hold a namespace, at one moment.
type Peers struct {
	// List has the Crossroom nodes that announced themselves in the namespace, sorted
	// by id. On a broker that counts, only those whose subscriptions it counts.
	List []Peer
	// Lost are the ids of announced nodes that the broker does not count any more, and
	// Unresponsive of those that it does, although nothing was heard of them for
	// PeerTimeout: frozen processes, and dead ones whose connections the broker has not
	// given up. Both are sorted, and empty where the broker cannot count.
	Lost, Unresponsive []string
	// Foreign is how many more servers the broker counts: Node.js servers, and
	// Crossroom nodes that have not introduced themselves yet. If it could not be asked
	// it is how many there were the last time.
	Foreign int
	// Counted: the broker was asked, and counted everybody.
	Counted bool
}

// Total is how many servers hold the namespace: all of these but the lost ones, and
// this node.
func (p *Peers) Total() int { return 1 + len(p.List) + len(p.Unresponsive) + p.Foreign }

// Peers says which other servers hold the namespace. The broker is asked, but none of
// them. If it does not answer, what is known from before is returned beside the error:
// the context's as it is, or an *OpError. If it could not count everywhere and Node.js
// servers may be missing, the error is an *OpError that wraps a *broker.InexactError,
// and if Crossroom nodes may be missing one that wraps ErrNotIntroduced.
// ErrClosed comes without a value.
func (ns *Namespace) Peers(ctx context.Context) (*Peers, error) {
	s, err := ns.headcount(ctx)
	if errors.Is(err, ErrClosed) {
		return nil, err
	}
	p := &Peers{Foreign: s.Foreign.Total, Counted: ns.node.caps.CountsSubscribers && err == nil && s.Inexact == nil}
	if s.Err != nil {
		p.Foreign = s.Before
		p.List = peersOf(ns.node.members.PeersOf(s.In(request.Unreachable)))
	} else {
		p.Lost, p.Unresponsive = s.In(request.Lost), s.In(request.Departed)
		p.List = peersOf(ns.node.members.PeersOf(s.In(request.Waiting, request.Unresponsive)))
	}
	return p, err
}

// Count returns how many servers hold the namespace, this one included: announced
// Crossroom nodes, and where the broker can count all others too. The error is the
// context's as it is, ErrClosed, or an *OpError. The number is zero beside it, but a
// lower bound if it wraps a *broker.InexactError or ErrNotIntroduced.
func (ns *Namespace) Count(ctx context.Context) (int, error) {
	s, err := ns.headcount(ctx)
	if s.Err != nil {
		return 0, err
	}
	return 1 + s.Peers(), err
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
	s, err := ns.headcountBy(ctx, func(ctx context.Context) (*request.Snapshot, error) { return ns.requests.Snapshot(ctx, wire.OpMembers) })
	return s.Foreign, err
}

var errInterrupted = errors.New("the link is interrupted")

// headcount is a snapshot for its own sake.
func (ns *Namespace) headcount(ctx context.Context) (*request.Snapshot, error) {
	return ns.headcountBy(ctx, ns.requests.Listeners)
}

func (ns *Namespace) headcountBy(ctx context.Context, take func(context.Context) (*request.Snapshot, error)) (*request.Snapshot, error) {
	if err := ns.ready(ctx); err != nil {
		return ns.requests.Known(err), err
	}
	limited, cancel := ns.deadline(ctx, 0)
	defer cancel()
	s, err := take(limited)
	fail := func(err error) (*request.Snapshot, error) {
		return s, &OpError{Op: "count", Namespace: ns.name, Err: err}
	}
	switch {
	case err == nil && (s.Unsettled || len(s.In(request.NotIntroduced)) > 0):
		return fail(ErrNotIntroduced)
	case err == nil && (s.Inexact == nil || ns.protocol == broker.Native):
		return s, nil
	case err == nil:
		return fail(s.Inexact)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return s, err
	case ns.closing.Load():
		return s, ErrClosed
	}
	return fail(err)
}
