package backplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// A request to the fleet takes these steps. A snapshot has the subscribers. The codec returns the number of foreign
// peers that respond to this operation. collect publishes the request and waits until each peer has responded or is known
// to be lost, or until the deadline. Package request has all of this except the deadline, which is set in one place,
// Namespace.deadline.

// deadline limits a request to the request timeout, or to d if that is positive.
func (ns *Namespace) deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		d = ns.node.opts.RequestsTimeout
	}
	return context.WithTimeout(ctx, d)
}

// requestAll sends a request to the whole fleet and returns the coverage. The error is a *PartialError if a node is
// missing, or if the broker did not respond; any other error means that no node got the request.
func (ns *Namespace) requestAll(ctx context.Context, req *wire.Request, take func(*wire.Response) bool) (Coverage, error) {
	snap, err := ns.requests.Snapshot(ctx, req.Op)
	if err != nil {
		return ns.unreachable(snap, req.Op, err)
	}
	exp, err := ns.requests.Expect(req, snap)
	if err != nil {
		return Coverage{}, err
	}
	coverage, err := ns.collect(ctx, req, snap, exp, take)
	if err != nil && !isOutage(err) {
		return coverage, err
	}
	return coverage, ns.partial(ctx, req.Op, coverage, err)
}

// isOutage distinguishes errors that come with the known state from refusals.
func isOutage(err error) bool {
	var name *broker.NameError
	var size *broker.PayloadError
	return !errors.Is(err, errors.ErrUnsupported) && !errors.As(err, &name) && !errors.As(err, &size)
}

// collect publishes req to the nodes of the snapshot and collects their responses until ctx ends. It returns an error if
// the request was not sent, if this namespace was closed, or if unknown nodes may exist. The caller decides about
// missing responses.
func (ns *Namespace) collect(ctx context.Context, req *wire.Request, snap *request.Snapshot, exp wire.Expected, take func(*wire.Response) bool) (Coverage, error) {
	p := ns.requests.New(req, take)
	ctx, seen := ns.begin(ctx, p, req, snap, exp)
	return ns.run(ctx, p, seen, snap, exp, ns.hasRecipients(snap))
}

// run runs a request. seen is the observer's view of it.
func (ns *Namespace) run(ctx context.Context, p *request.Pending, seen *observe.Request, snap *request.Snapshot, exp wire.Expected, publish bool) (Coverage, error) {
	ns.node.monitor.Asked.Add(1)
	if seen != nil {
		seen.Expected, seen.ExpectedForeign = snap.Expected(), exp.Answers
	}
	r, err := p.Run(ctx, snap, exp, publish)
	coverage := coverageOf(&r, exp)
	if err == nil && r.Unsettled {
		err = ErrNotIntroduced
	}
	if seen != nil {
		seen.Responded, seen.Err = len(coverage.Answered)+coverage.Foreign, err
		for _, m := range coverage.Missing {
			seen.Missing = append(seen.Missing, observe.Missing(m))
		}
		ns.node.monitor.Observed("RequestEnd", func() { ns.node.monitor.Observers.Request.RequestEnd(ctx, seen) })
	}
	return coverage, err
}

// begin notifies the observer of the request, and arranges notifications of each response. It returns the observer's
// view of the request, nil without an observer.
func (ns *Namespace) begin(ctx context.Context, p *request.Pending, req *wire.Request, snap *request.Snapshot, exp wire.Expected) (_ context.Context, seen *observe.Request) {
	n := ns.node
	ro := n.monitor.Observers.Request
	if ro == nil {
		return ctx, nil
	}
	seen = ns.requestData(req)
	seen.Expected, seen.ExpectedForeign = snap.Expected(), exp.Answers
	ctx = monitor.Start(ctx, &n.monitor, "RequestStart", observe.Observer.RequestStart, ro, seen)
	req.Header = seen.Header
	p.Each(func(node string) {
		n.monitor.Observed("RequestResponse", func() { ro.RequestResponse(ctx, seen, node) })
	})
	return ctx, seen
}

// hasRecipients reports whether to publish a request: it was not refused, and peers may be subscribed. On a broker that
// cannot count, unannounced nodes may exist.
func (ns *Namespace) hasRecipients(snap *request.Snapshot) bool {
	return snap.Err == nil && (snap.Peers() > 0 || snap.Inexact != nil || !ns.node.caps.CountsSubscribers)
}

// coverageOf converts a result to its public form.
func coverageOf(r *request.Result, exp wire.Expected) Coverage {
	c := Coverage{Answered: r.Answered, Foreign: r.Foreign, Unconfirmed: exp.Silent, Uncounted: r.Inexact}
	for _, m := range r.Missing {
		c.Missing = append(c.Missing, observe.Missing{Node: m.Node, Count: m.Count, Reason: reasonFor(&m)})
	}
	return c
}

// reasonFor returns the reason for a missing response.
func reasonFor(m *request.Missing) error {
	switch m.State {
	case request.Unresponsive:
		return ErrPeerUnresponsive
	case request.NotIntroduced:
		return ErrNotIntroduced
	case request.Unreachable:
		return m.Err
	case request.Busy:
		return ErrBusy
	case request.Refused:
		return &refusal{m.Text}
	case request.TooLarge:
		return ErrTooLarge
	case request.TimedOut:
		return ErrNoResponse
	}
	return ErrPeerLost
}

// unreachable returns the outcome if the broker did not return the subscribers.
func (ns *Namespace) unreachable(snap *request.Snapshot, op wire.Op, err error) (Coverage, error) {
	err = fmt.Errorf("the broker did not return its subscribers: %w", err)
	snap.Err = err
	r := snap.Result()
	coverage := coverageOf(&r, wire.Expected{})
	return coverage, ns.partial(context.Background(), op, coverage, err)
}

// requestData describes a request to the observer.
func (ns *Namespace) requestData(req *wire.Request) *observe.Request {
	return &observe.Request{
		Source: ns.node.monitor.Source, Namespace: ns.name, Op: req.Op.String(), ID: req.ID, NoReply: req.NoReply,
		Rooms: req.Rooms, All: req.All, Except: req.Except, PayloadBytes: len(req.Payload), Header: req.Header.Clone(),
	}
}

// publishRequest publishes a request without responses.
func (ns *Namespace) publishRequest(ctx context.Context, req *wire.Request) error {
	ro := ns.node.monitor.Observers.Request
	if ro == nil {
		return ns.requests.Publish(ctx, req)
	}
	d := ns.requestData(req)
	ctx = monitor.Start(ctx, &ns.node.monitor, "RequestStart", observe.Observer.RequestStart, ro, d)
	req.Header = d.Header
	d.Err = ns.requests.Publish(ctx, req)
	ns.node.monitor.Observed("RequestEnd", func() { ro.RequestEnd(ctx, d) })
	return d.Err
}

// partial makes the error of an incomplete result; nil if no node is missing. err is the reason for an early end of
// the wait, if there is one.
func (ns *Namespace) partial(ctx context.Context, op wire.Op, f Coverage, err error) error {
	if err == nil && len(f.Missing) == 0 && f.Uncounted == nil {
		return nil
	}
	ns.node.monitor.Partial.Add(1)
	if err == nil && len(f.Missing) == 0 {
		err = f.Uncounted
	}
	if err == nil {
		err = f.Missing[0].Reason
		for _, m := range f.Missing {
			if errors.Is(m.Reason, ErrNoResponse) {
				err = ctx.Err()
				break
			}
		}
	}
	return ns.failed(&PartialError{Op: op.String(), Coverage: f, Err: err})
}
