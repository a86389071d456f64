package adapter

import (
	"context"
	"fmt"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
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
	if err := o.check(); err != nil {
		return nil, err
	}
	payload, flags, err := appendEvent(nil, event, args)
	if err != nil {
		return nil, err
	}
	ns, t := o.ns, o.target
	t.Flags |= flags
	var in *backplane.Acks
	if t.LocalOnly {
		in, err = ns.home.acks(ctx, payload, t, o.timeout)
	} else {
		in, err = ns.fleet.broadcastAck(ctx, payload, t, o.timeout)
	}
	return ns.acks(in), err
}

// acks decodes the answers.
func (ns *Namespace) acks(in *backplane.Acks) *Acks {
	if in == nil {
		return nil
	}
	out := &Acks{Values: make([]any, 0, len(in.Values)), Expected: in.Expected, Coverage: in.Coverage}
	for _, payload := range in.Values {
		var v any
		switch {
		case string(payload) == string(answeredElsewhere):
			out.Expected--
			continue
		case payload != nil:
			var err error
			if v, err = msgpack.Decode(payload); err != nil {
				ns.server.report(fmt.Errorf("adapter: unreadable acknowledgement: %w", err))
			}
		}
		out.Values = append(out.Values, v)
	}
	return out
}
