package backplane

import (
	"context"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/request"
	"github.com/crossroom/crossroom/internal/wire"
)

// Acks are the acknowledgements of a broadcast.
type Acks struct {
	// Values in the order of their arrival; nil for an acknowledgement without a value.
	Values [][]byte
	// Expected is the number of members, on the nodes that responded, that could acknowledge.
	Expected int
	Coverage
}

// BroadcastAck sends payload like Broadcast and collects the acknowledgements of members that can give them. It
// returns when all have arrived, when timeout has elapsed, or when the context ends. timeout may be longer than
// RequestsTimeout, which is its value if it is zero or negative. If the time ends first, the *PartialError wraps
// context.DeadlineExceeded, also if every node responded but not every member.
//
// Local members get the message first, whatever the state of the broker. In package adapter the request may then be
// refused because it would harm a foreign peer. Such a refusal is a *PartialError too: it wraps the refusal, and no
// other node got the message. Any other error means that no member got it.
func (ns *Namespace) BroadcastAck(ctx context.Context, payload []byte, t Target, timeout time.Duration) (*Acks, error) {
	return ns.broadcastAck(ctx, payload, &t.sel, timeout, AckFuncs{})
}

// BroadcastAckFunc is BroadcastAck, and also calls the functions of on as parts of the result arrive.
func (ns *Namespace) BroadcastAckFunc(ctx context.Context, payload []byte, t Target, timeout time.Duration, on AckFuncs) (*Acks, error) {
	return ns.broadcastAck(ctx, payload, &t.sel, timeout, on)
}

// AckFuncs are called as parts of a result arrive. Nil functions are skipped. The calls are made one at a time on the
// goroutine that called BroadcastAckFunc, which continues to wait when a call returns: the time of a call is part of
// the timeout.
type AckFuncs struct {
	// Sent is called when the message to the other nodes has been published, before Expected and Value are called for
	// any of them. It is not called if publishing fails.
	Sent func()
	// Expected is called once for each node that responds, with the number of its members that can acknowledge, and
	// before Value is called for them. A foreign peer has no name, and its acknowledgements may come before its
	// number.
	Expected func(node string, n int)
	// Value is called with each acknowledgement; payload is nil for one without a value. At the end it is also called
	// with those of nodes that sent no number.
	Value func(node string, payload []byte)
}

func (ns *Namespace) broadcastAck(ctx context.Context, payload []byte, t *wire.Selection, timeout time.Duration, on AckFuncs) (*Acks, error) {
	if err := ns.target(ctx, t); err != nil {
		return nil, err
	}
	if t.Nobody() {
		return new(Acks), nil
	}
	ctx, cancel := ns.deadline(ctx, timeout)
	defer cancel()
	if timeout <= 0 {
		timeout = ns.node.opts.RequestsTimeout
	}
	req := &wire.Request{
		Op: wire.OpBroadcast, Origin: ns.node.id, Native: true, Timeout: timeout,
		Rooms: t.Rooms, All: t.All, Except: t.Except, Flags: t.Flags, Header: t.Header, Payload: payload,
	}
	if !t.LocalOnly {
		if err := ns.requests.Sendable(req); err != nil {
			return nil, err
		}
	}
	var out Acks
	stream := newAckStream(on)
	p := ns.requests.New(req, func(r *wire.Response) bool {
		stream.take(r)
		if r.Ack {
			out.Values = append(out.Values, r.Payload)
		} else {
			out.Expected += max(r.Count, 0)
		}
		return false
	})
	var (
		snap   = new(request.Snapshot)
		exp    wire.Expected
		failed error // why the other nodes did not get the request, or not all of them
		err    error
	)
	ctx, seen := ns.begin(ctx, p, req, snap, exp)
	if stream != nil {
		p.Each(func(string) { stream.pass() })
		p.Sent(stream.sent)
	}
	if !t.RemoteOnly {
		ns.ackLocal(ctx, p, req, &out, stream)
	}
	if !t.LocalOnly {
		snap, failed = ns.requests.Snapshot(ctx, req.Op)
		if exp, err = ns.requests.Expect(req, snap); err != nil {
			failed = err
			snap.Refuse(err)
		}
	}
	out.Coverage, err = ns.run(ctx, p, seen, snap, exp, !t.LocalOnly && ns.hasRecipients(snap))
	stream.end()
	switch {
	case err == nil && failed != nil:
		err = failed
	case err == nil && len(out.Values) < out.Expected && len(out.Missing) == 0:
		err = ctx.Err()
	}
	return &out, ns.partial(ctx, wire.OpBroadcast, out.Coverage, err)
}

// ackLocal delivers a broadcast with acknowledgement to the local members.
func (ns *Namespace) ackLocal(ctx context.Context, p *request.Pending, req *wire.Request, out *Acks, stream *ackStream) {
	var d delivery
	d.Find(ns.rooms, filterOf(req.Rooms, req.All, req.Except))
	var m *Message
	if len(d.List) > 0 {
		m = ns.localMessage(Message{Namespace: ns.name, Header: req.Header.Clone(), Payload: req.Payload}, req.Flags)
	}
	if m == nil || !ns.prepare(m) {
		stream.take(&wire.Response{Node: ns.node.id})
		return
	}
	n := acking(d.List)
	p.Owe(n)
	out.Expected += n
	stream.take(&wire.Response{Node: ns.node.id, Count: n})
	d.Context = ctx
	d.Call = &ackCall{m, func(value []byte) {
		p.Take(&wire.Response{Ack: true, Node: ns.node.id, Payload: slices.Clone(value)})
	}}
	ns.deliver(&d)
}
