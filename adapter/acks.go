package adapter

import (
	"context"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// Acks are the acknowledgements of clients for an event.
type Acks struct {
	// Values are the acknowledgements in the order of their arrival, in the form of Packet.Args; nil for one without a
	// value. BindArgs converts them.
	Values []any
	// Expected is the number of clients, on the nodes that responded, that could acknowledge. Sockets that are no
	// AckSockets do not count.
	Expected int
	backplane.Coverage
}

// EmitWithAck sends an event like Emit and collects the acknowledgements of the clients, until all have arrived or
// Timeout has elapsed. Then the error is a *backplane.PartialError with the acknowledgements so far, also if only
// clients, and no nodes, are missing.
//
// Local sockets get the event first, whatever the state of the broker; with InAll after the lists of its sockets. If the
// event would harm a connected server, the error is a *backplane.PartialError that wraps the *MixedFleetError, and no
// other server got the event.
//
// As with a Node.js server, arguments without binary data travel as JSON: a time.Time is a string in Packet.Args on
// other nodes, also on Go nodes. Packet.Bind stores it in a time.Time nevertheless, and for clients a date is such a
// string in any case.
//
// Dialect v5 does not have this operation: the error wraps errors.ErrUnsupported, unless the operator is Local. With
// several links, servers on the v5 links are left out and counted in Coverage.Unconfirmed.
func (o Operator) EmitWithAck(ctx context.Context, event string, args ...any) (*Acks, error) {
	return o.EmitWithAckFunc(ctx, AckFuncs{}, event, args...)
}

// AckFuncs are called as parts of a result arrive, one call at a time: on the goroutine that called EmitWithAckFunc, or
// with several links also on goroutines of the server. Nil functions are skipped. The time of a call is part of the
// timeout.
type AckFuncs struct {
	// Sent is called when the event has been published for the other servers, before Expected and Value are called for
	// any of them. It is not called if publishing failed.
	Sent func()
	// Expected is called once for each server that responds, with the number of its clients that can acknowledge. Node
	// is empty for a Node.js server.
	Expected func(node string, n int)
	// Value is called with each client's acknowledgement; nil for one without a value.
	Value func(node string, value any)
}

// EmitWithAckFunc is EmitWithAck, and also calls the functions of on as parts of the result arrive, for servers with
// callbacks of their own. A Go node's number comes before its clients' acknowledgements. With several links all numbers
// come after all acknowledgements, because two links may reach the same sockets.
func (o Operator) EmitWithAckFunc(ctx context.Context, on AckFuncs, event string, args ...any) (*Acks, error) {
	if err := o.check(ctx); err != nil {
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
	if t, err = ns.resolved(ctx, t); err != nil {
		return nil, err
	}
	if t.LocalOnly || t.Nobody() {
		in, err = ns.home.acks(ctx, payload, t, o.timeout, funcs)
	} else {
		in, err = ns.fleet.broadcastAck(ctx, payload, t, o.timeout, funcs)
	}
	return ns.acks(in), err
}

// ackValue decodes one acknowledgement.
func (ns *Namespace) ackValue(payload []byte) any {
	if payload == nil {
		return nil
	}
	v, err := msgpack.Decode(payload)
	if err != nil {
		ns.server.report(wire.FromAdapter(&backplane.OpError{Op: "read acknowledgement", Namespace: ns.name, Err: err}))
	}
	return v
}

// acks decodes the acknowledgements.
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
