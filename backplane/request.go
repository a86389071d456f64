package backplane

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// A question to the fleet goes like this: census counts who listens, the codec says
// how many of those answer this operation, ask publishes the request and waits until
// each has answered, is known to be gone, or the deadline is there. The deadline is
// set in one place, Namespace.deadline.

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
	c, err := ns.census(ctx, req.Op)
	if err != nil {
		return c.unreachable(ns, req.Op, err)
	}
	exp, err := ns.codec.Expect(ns.name, req, c.others)
	if err != nil {
		return Coverage{}, err
	}
	fleet, err := ns.ask(ctx, req, &c, exp, take)
	if err != nil && !isOutage(err) {
		return fleet, err
	}
	return fleet, ns.partial(ctx, req.Op, fleet, err)
}

// isOutage tells errors that come with what is known so far from refusals.
func isOutage(err error) bool {
	var name *broker.NameError
	var size *broker.PayloadError
	return !errors.Is(err, errors.ErrUnsupported) && !errors.As(err, &name) && !errors.As(err, &size)
}

// ask publishes req to those that c counted and collects their answers until ctx
// ends. An error means that the request did not go out, or that this namespace was
// closed; missing answers are for the caller to judge.
func (ns *Namespace) ask(ctx context.Context, req *wire.Request, c *census, exp wire.Expected, take func(*wire.Response) bool) (Coverage, error) {
	call := newCall(ns, req, take)
	return call.run(call.start(ctx, c, exp), c, exp, ns.heardBy(c))
}

// heardBy reports whether anybody is there to hear a request. A broker that cannot
// count may have nodes on it that have not announced themselves yet.
func (ns *Namespace) heardBy(c *census) bool {
	return c.peers() > 0 || c.inexact != nil || c.err == nil && !ns.node.caps.CountsSubscribers
}

// uncounted returns why a response may be missing that was not counted on. On the native
// protocol there is none: all peers are Crossroom nodes, which announce themselves.
func (ns *Namespace) uncounted(req *wire.Request, who *census) error {
	if who.inexact == nil || ns.protocol == broker.Native {
		return nil
	}
	one, err := ns.codec.Expect(ns.name, req, wire.Unannounced{Total: 1, Responding: -1})
	if err == nil && one.Answers == 0 {
		return nil // foreign peers do not respond to this
	}
	return who.inexact
}

// sendable says in advance why a request cannot be sent: nothing is done here that
// others cannot be told of.
func (ns *Namespace) sendable(req *wire.Request) error {
	if req.ID == "" {
		req.ID = ns.calls.newID() // counts in the size
	}
	buf, err := ns.codec.AppendRequest(nil, ns.name, req)
	if limit := ns.node.limit; err == nil && limit > 0 && len(buf) > limit {
		err = &broker.PayloadError{Size: len(buf), Max: limit}
	}
	return err
}

// requestData describes a request to the observer.
func (ns *Namespace) requestData(req *wire.Request) *observe.Request {
	return &observe.Request{
		Source: ns.node.source, Namespace: ns.name, Op: req.Op.String(), ID: req.ID, NoReply: req.NoReply,
		Rooms: req.Rooms, Except: req.Except, PayloadBytes: len(req.Payload), Header: cloneHeader(req.Header),
	}
}

// tell publishes a request that nobody answers.
func (ns *Namespace) tell(ctx context.Context, req *wire.Request) error {
	ro := ns.node.observe.Request
	if ro == nil {
		return ns.publishRequest(ctx, req)
	}
	d := ns.requestData(req)
	ctx = observedStart(ctx, ns.node, "RequestStart", observe.Observer.RequestStart, ro, d)
	req.Header = d.Header
	d.Err = ns.publishRequest(ctx, req)
	ns.node.observed("RequestEnd", func() { ro.RequestEnd(ctx, d) })
	return d.Err
}

func (ns *Namespace) publishRequest(ctx context.Context, req *wire.Request) error {
	buf, err := ns.codec.AppendRequest(nil, ns.name, req)
	if err != nil {
		return err
	}
	return ns.node.broker.Publish(ctx, ns.protocol.Requests(ns.name), buf)
}

// response takes in another node's answer.
func (a *arrivals) response(ch broker.Channel, payload []byte) {
	ns := a.ns
	var r wire.Response
	if err := ns.codec.DecodeResponse(payload, ns.name, &r); err != nil {
		a.drop(ch, reasonOf(err), err)
		return
	}
	if r.Node == ns.node.id {
		a.drop(ch, observe.DropEcho, nil)
		return
	}
	ns.node.members.Heard(r.Node)
	// On the shared channel most answers are to other nodes' questions.
	if !ns.calls.own(r.RequestID) {
		a.drop(ch, observe.DropForeign, nil)
		return
	}
	c := ns.calls.find(r.RequestID)
	if c != nil && r.Lacks(c.req.Op) {
		a.drop(ch, observe.DropUndecodable, errLacking)
		return
	}
	if c == nil || !c.answer(&r) {
		if r.Node == "" {
			ns.quiet.forget() // one of them lives
		}
		a.drop(ch, observe.DropStray, nil)
	}
}

var errLacking = errors.New("response without what was asked for")

// partial makes the error of an incomplete answer, nil if nobody is missing. Pass
// why asking ended early, if it did.
func (ns *Namespace) partial(ctx context.Context, op wire.Op, f Coverage, err error) error {
	if err == nil && len(f.Missing) == 0 && f.Uncounted == nil {
		return nil
	}
	ns.node.counters.partial.Add(1)
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
