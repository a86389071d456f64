package adapter

import (
	"context"
	"fmt"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// Acks are the answers of clients to an event.
type Acks struct {
	// Values are the answers in the order in which they came, as Packet.Args would
	// have them; nil for an answer without a value.
	Values []any
	// Expected is how many clients were asked on the nodes that answered. Sockets
	// that are no AckSockets are not among them.
	Expected int
	backplane.Coverage
}

// Bind stores answer i in what dst points to, as Packet.Bind does.
func (a *Acks) Bind(i int, dst any) error {
	if i < 0 || i >= len(a.Values) {
		return &ArgumentError{Index: i, Err: errNoArgument}
	}
	if err := bindValue(dst, a.Values[i]); err != nil {
		return &ArgumentError{Index: i, Err: err}
	}
	return nil
}

// EmitWithAck sends an event like Emit and collects the answers of the clients,
// until all are there or Timeout is over. Then the error is a *backplane.PartialError beside
// the answers so far, also if it is clients and not nodes that did not answer.
//
// Local sockets get the event first, whatever state the broker is in. So if servers
// are there that it would harm, the error is a *backplane.PartialError that wraps the
// *MixedFleetError, and no other server got the event.
//
// As from a Node.js server, arguments without binary data travel as JSON: a time.Time
// is a string in Packet.Args on other nodes, Go nodes too. Packet.Bind stores it in a
// time.Time nevertheless, and to clients a date is such a string in any case.
//
// Dialect v5 has no such thing: the error wraps errors.ErrUnsupported, unless the operator is Local.
// With several links, servers on the v5 ones are left out and counted in
// Coverage.Unconfirmed.
func (o Operator) EmitWithAck(ctx context.Context, event string, args ...any) (*Acks, error) {
	return o.EmitWithAckFunc(ctx, AckFuncs{}, event, args...)
}

// AckFuncs are called with the parts of an answer as they come, one call at a time. Nil
// ones are left out. Time that a call takes is part of the timeout.
type AckFuncs struct {
	// Sent is called when the event has been published for the other servers, before
	// Expected and Value are called for any of them; not if it could not be.
	Sent func()
	// Expected is called once for each server that answers, with the number of its clients
	// that were asked. Node is empty for a Node.js server.
	Expected func(node string, n int)
	// Value is called with each client's answer; nil for one without a value.
	Value func(node string, value any)
}

// EmitWithAckFunc is EmitWithAck, and calls on's functions with what comes as it comes, for
// servers with callbacks of their own. A Go node's number comes before its clients' answers. With
// several links the numbers come last, as sockets may have been asked over two of them.
func (o Operator) EmitWithAckFunc(ctx context.Context, on AckFuncs, event string, args ...any) (*Acks, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	payload, flags, err := appendEvent(nil, event, args)
	if err != nil {
		return nil, err
	}
	ns, t := o.ns, o.target
	t.Flags |= flags
	funcs := wire.AckFuncs{Sent: on.Sent, Expected: on.Expected}
	if on.Value != nil {
		funcs.Value = func(node string, payload []byte) { on.Value(node, ns.ackValue(payload)) }
	}
	var in *backplane.Acks
	if t.LocalOnly {
		in, err = ns.home.acks(ctx, payload, t, o.timeout, funcs)
	} else {
		in, err = ns.fleet.broadcastAck(ctx, payload, t, o.timeout, funcs)
	}
	return ns.acks(in), err
}

// ackValue decodes one answer.
func (ns *Namespace) ackValue(payload []byte) any {
	if payload == nil {
		return nil
	}
	v, err := msgpack.Decode(payload)
	if err != nil {
		ns.server.report(fmt.Errorf("adapter: unreadable acknowledgement: %w", err))
	}
	return v
}

// acks decodes the answers.
func (ns *Namespace) acks(in *backplane.Acks) *Acks {
	if in == nil {
		return nil
	}
	out := &Acks{Values: make([]any, 0, len(in.Values)), Expected: in.Expected, Coverage: in.Coverage}
	for _, payload := range in.Values {
		if string(payload) == string(answeredElsewhere) {
			out.Expected--
			continue
		}
		out.Values = append(out.Values, ns.ackValue(payload))
	}
	return out
}
