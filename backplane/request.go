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

// A request to the fleet goes like this: a snapshot has who listens, the codec says how
// many foreign peers respond to this operation, ask publishes the request and waits until
// each has responded, is known to be lost, or the deadline has come. Package request has all
// of it but the deadline, which is set in one place, Namespace.deadline.

// deadline limits a question to the request timeout, or to d if that is positive.
func (ns *Namespace) deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		d = ns.node.opts.RequestsTimeout
	}
	return context.WithTimeout(ctx, d)
}

// question asks the whole fleet and returns who answered. The error is a
// *PartialError if somebody is missing, or if the broker could not be asked; any
// other error means that nobody was asked.
func (ns *Namespace) question(ctx context.Context, req *wire.Request, take func(*wire.Response) bool) (Coverage, error) {
	snap, err := ns.requests.Snapshot(ctx, req.Op)
	if err != nil {
		return ns.unreachable(snap, req.Op, err)
	}
	exp, err := ns.requests.Expect(req, snap)
	if err != nil {
		return Coverage{}, err
	}
	coverage, err := ns.ask(ctx, req, snap, exp, take)
	if err != nil && !isOutage(err) {
		return coverage, err
	}
	return coverage, ns.partial(ctx, req.Op, coverage, err)
}

// isOutage tells errors that come with what is known so far from refusals.
func isOutage(err error) bool {
	var name *broker.NameError
	var size *broker.PayloadError
	return !errors.Is(err, errors.ErrUnsupported) && !errors.As(err, &name) && !errors.As(err, &size)
}

// ask publishes req to those that the snapshot has and collects their responses until ctx
// ends. An error means that the request did not go out, that this namespace was closed, or
// that there may be nodes that are not known; missing responses are for the caller to judge.
func (ns *Namespace) ask(ctx context.Context, req *wire.Request, snap *request.Snapshot, exp wire.Expected, take func(*wire.Response) bool) (Coverage, error) {
	p := ns.requests.New(req, take)
	ctx, seen := ns.begin(ctx, p, req, snap, exp)
	return ns.run(ctx, p, seen, snap, exp, ns.heardBy(snap))
}

// run runs a request, of which the observer sees seen.
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

// begin tells the observer that a request begins, and has it told of each response. seen is
// what it sees of the request, nil without an observer.
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

// heardBy reports whether a request is to be published: it was not refused, and peers may
// be subscribed. A broker that cannot count may have nodes on it that have not announced
// themselves yet.
func (ns *Namespace) heardBy(snap *request.Snapshot) bool {
	return snap.Err == nil && (snap.Peers() > 0 || snap.Inexact != nil || !ns.node.caps.CountsSubscribers)
}

// coverageOf makes the public form of a result.
func coverageOf(r *request.Result, exp wire.Expected) Coverage {
	c := Coverage{Answered: r.Answered, Foreign: r.Foreign, Unconfirmed: exp.Silent, Uncounted: r.Inexact}
	for _, m := range r.Missing {
		c.Missing = append(c.Missing, Missing{Node: m.Node, Count: m.Count, Reason: reasonFor(&m)})
	}
	return c
}

// reasonFor returns why a response is missing.
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
		return &RefusedError{Text: m.Text}
	case request.TooLarge:
		return ErrTooLarge
	case request.TimedOut:
		return ErrNoResponse
	}
	return ErrPeerLost
}

// unreachable is the outcome if the broker did not say who listens.
func (ns *Namespace) unreachable(snap *request.Snapshot, op wire.Op, err error) (Coverage, error) {
	err = fmt.Errorf("the broker did not say who is there: %w", err)
	snap.Err = err
	r := snap.Result()
	coverage := coverageOf(&r, wire.Expected{})
	return coverage, ns.partial(context.Background(), op, coverage, err)
}

// requestData describes a request to the observer.
func (ns *Namespace) requestData(req *wire.Request) *observe.Request {
	return &observe.Request{
		Source: ns.node.monitor.Source, Namespace: ns.name, Op: req.Op.String(), ID: req.ID, NoReply: req.NoReply,
		Rooms: req.Rooms, Except: req.Except, PayloadBytes: len(req.Payload), Header: req.Header.Clone(),
	}
}

// tell publishes a request that nobody answers.
func (ns *Namespace) tell(ctx context.Context, req *wire.Request) error {
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

// partial makes the error of an incomplete answer, nil if nobody is missing. Pass
// why asking ended early, if it did.
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
	return &PartialError{Op: op.String(), Coverage: f, Err: err}
}
