package backplane

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Peers returns the other servers with the namespace. It queries the broker, but none of the servers, and waits for
// introductions where the broker cannot count: at most Options.RequestsTimeout. If the broker does not respond, Peers
// returns the last known state with the error: the context's error unwrapped, or an *OpError. If the broker could not
// count everywhere, and Node.js servers may be missing, the error is an *OpError that wraps a *broker.InexactError. If
// Crossroom nodes may be missing, it is an *OpError that wraps ErrNotIntroduced. ErrClosed comes without a value.
func (ns *Namespace) Peers(ctx context.Context) (*observe.Peers, error) {
	s, err := ns.snapshot(ctx)
	if errors.Is(err, ErrClosed) {
		return nil, err
	}
	p := &observe.Peers{Foreign: s.Foreign.Total, Counted: ns.node.caps.CountsSubscribers && err == nil && s.Inexact == nil}
	if s.Err != nil {
		p.Foreign = s.Before
		p.List = peersOf(ns.node.members.PeersOf(s.In(request.Unreachable)))
	} else {
		p.Lost, p.Unresponsive = s.In(request.Lost), s.In(request.Departed)
		p.List = peersOf(ns.node.members.PeersOf(s.In(request.Waiting, request.Unresponsive)))
	}
	return p, err
}

// foreign implements wire.Namespace's Foreign.
func (ns *Namespace) foreign(ctx context.Context) (wire.Unannounced, error) {
	if err := ns.ready(ctx); err != nil {
		return wire.Unannounced{}, err
	}
	switch {
	case !ns.node.caps.CountsSubscribers:
		return wire.Unannounced{Responding: -1}, nil
	case ns.node.members.Down():
		return wire.Unannounced{Responding: -1}, ns.failed(&OpError{Op: "count", Namespace: ns.name, Err: errInterrupted})
	}
	s, err := ns.headcountBy(ctx, func(ctx context.Context) (*request.Snapshot, error) { return ns.requests.Snapshot(ctx, wire.OpMembers) })
	return s.Foreign, err
}

var errInterrupted = errors.New("the link is interrupted")

// snapshot takes a snapshot that no request needs.
func (ns *Namespace) snapshot(ctx context.Context) (*request.Snapshot, error) {
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
		return s, ns.failed(&OpError{Op: "count", Namespace: ns.name, Err: err})
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
