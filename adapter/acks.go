package adapter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
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
	if err := o.check(); err != nil {
		return nil, err
	}
	payload, flags, err := appendEvent(nil, event, args)
	if err != nil {
		return nil, err
	}
	ns, t := o.ns, o.target
	t.Flags |= flags
	if t.LocalOnly {
		p := o.ackParts(ctx, ns.legs[:1], payload, t)[0]
		return ns.acks(p.Value, p.Coverage), p.Err
	}
	asked := ns.speaking(V6)
	switch {
	case len(asked) == 0:
		return nil, unsupported("EmitWithAck", V5, "")
	case len(asked) > 1:
		if err := ns.checkAll(wire.OpBroadcast, payload, t.Flags); err != nil {
			return nil, err
		}
		// This request has no place for a mark of its own.
		t.Header = wire.Header{relayHeader: ns.dedup.Mark(ns.server.uid)}
	}
	unasked := ns.unasked(ctx, asked, o.timeout)
	parts := o.ackParts(ctx, asked, payload, t)
	fleet, err, failed := multilink.Merge(wire.OpBroadcast, parts)
	if failed {
		return nil, err
	}
	sum := &backplane.Acks{}
	for _, p := range parts {
		if p.Value != nil {
			sum.Values = append(sum.Values, p.Value.Values...)
			sum.Expected += p.Value.Expected
		}
	}
	for _, l := range <-unasked {
		fleet.Unconfirmed += l.Unconfirmed
		fleet.Links = append(fleet.Links, l)
	}
	return ns.acks(sum, fleet), err
}

func (o Operator) ackParts(ctx context.Context, legs []leg, payload []byte, t wire.Selection) []multilink.Part[*backplane.Acks] {
	return eachPart(o.ns, legs, func(l leg) (p multilink.Part[*backplane.Acks]) {
		t := t
		t.RemoteOnly = l.link != legs[0].link // local sockets are asked once
		acks, err := l.core.BroadcastAck(ctx, payload, t, o.timeout)
		if p.Value, p.Err = acks.(*backplane.Acks), err; p.Value != nil {
			p.Coverage = p.Value.Coverage
		}
		return p
	})
}

// acks decodes the answers.
func (ns *Namespace) acks(in *backplane.Acks, fleet backplane.Coverage) *Acks {
	if in == nil {
		return nil
	}
	out := &Acks{Values: make([]any, 0, len(in.Values)), Expected: in.Expected, Coverage: fleet}
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

// speaking lists the links on which a dialect is spoken.
func (ns *Namespace) speaking(d Dialect) []leg {
	var legs []leg
	for _, l := range ns.legs {
		if l.dialect == d {
			legs = append(legs, l)
		}
	}
	return legs
}

// unasked counts the servers on the links that are not in asked, as well as that can
// be done in the time that asking the others may take.
func (ns *Namespace) unasked(ctx context.Context, asked []leg, timeout time.Duration) <-chan []backplane.LinkCoverage {
	sum := make(chan []backplane.LinkCoverage, 1)
	if len(asked) == len(ns.legs) {
		close(sum)
		return sum
	}
	if timeout <= 0 {
		timeout = ns.server.opts.RequestsTimeout
	}
	go func() { // ends with its context
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		sum <- ns.countUnasked(ctx, asked)
	}()
	return sum
}

func (ns *Namespace) countUnasked(ctx context.Context, asked []leg) (links []backplane.LinkCoverage) {
	known := map[string]bool{}
	for _, l := range asked {
		for _, p := range l.node.KnownPeers() {
			known[p.ID] = known[p.ID] || slices.Contains(p.Namespaces, ns.name)
		}
	}
	for _, l := range ns.legs {
		if l.dialect == asked[0].dialect {
			continue
		}
		p, err := l.ns.Peers(ctx)
		part := backplane.LinkCoverage{Prefix: l.key, Err: ns.onLink(l.link, err)}
		if err == nil {
			part.Unconfirmed = p.Foreign
			for _, peer := range p.List {
				if !known[peer.ID] {
					part.Unconfirmed++
				}
			}
		}
		links = append(links, part)
	}
	return links
}

// relayHeader is the header entry that carries the relay mark of events with
// acknowledgement.
const relayHeader = "relay"

// answeredElsewhere is the acknowledgement of a socket that has got the event over
// another link already: an extension value that no application sends.
var answeredElsewhere = msgpack.AppendExt(nil, msgpack.Ext{Type: 99, Data: []byte("again")})
