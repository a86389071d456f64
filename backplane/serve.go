package backplane

import (
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/backplane/internal/serve"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// request handles another node's request. Changes of memberships, and calls of members, are done here, in order with
// the broadcasts: a member that is put into a room gets the next message to the room. The desk handles the other
// requests, and all responses.
func (a *arrivals) request(ch broker.Channel, payload []byte, d *delivery) (deliver bool) {
	ns := a.ns
	r := new(wire.Request)
	if err := ns.codec.DecodeRequest(payload, ns.name, r); err != nil {
		a.drop(ch, reasonOf(err), err)
		return false
	}
	return a.serve(ch, r, len(payload), d)
}

// asked handles a request of another node to this one alone. Only pages are requested so: a process that may not
// publish requests can change nothing by way of the channel for responses.
func (a *arrivals) asked(ch broker.Channel, payload []byte) {
	r := new(wire.Request)
	err := a.ns.codec.DecodeRequest(payload, a.ns.name, r)
	switch {
	case err != nil:
		a.drop(ch, reasonOf(err), err)
	case ch.Kind() != broker.KindNodeResponses || r.Page <= 0 || r.Op != wire.OpMembers && r.Op != wire.OpRooms:
		a.drop(ch, observe.DropForeign, nil)
	default:
		a.serve(ch, r, len(payload), nil)
	}
}

func (a *arrivals) serve(ch broker.Channel, r *wire.Request, size int, d *delivery) (deliver bool) {
	ns := a.ns
	if a.unsigned && !a.admitted(ch, kindOf(r.Op), r.Native, r.Origin) {
		return false
	}
	if r.Origin == ns.node.id || ns.requests.Own(r.ID) {
		a.drop(ch, observe.DropEcho, nil)
		return false
	}
	ns.node.monitor.HeaderDropped(r.HeaderDropped)
	ns.node.members.Heard(r.Origin)
	if a.refusedRequest(r, size) {
		return false
	}
	switch r.Op {
	case wire.OpJoin, wire.OpLeave:
		return a.move(r, ns.desk.Begin(r, size), d)
	case wire.OpDisconnect:
		a.disconnect(r, ns.desk.Begin(r, size), d)
		return true
	case wire.OpBroadcast:
		a.ackBroadcast(r, ns.desk.Begin(r, size), d)
		return true
	}
	if !ns.desk.Take(r, size) {
		a.drop(ch, observe.DropForeign, nil)
	}
	return false
}

// move carries out OpJoin and OpLeave.
func (a *arrivals) move(r *wire.Request, s *serve.Request[Member], d *delivery) (deliver bool) {
	rooms, resp, f := a.ns.rooms, &s.Response, filterOf(r.Rooms, r.All, r.Except)
	if r.Op == wire.OpJoin {
		err := a.ns.open(r.Member, r.Targets)
		if err == nil {
			err = a.ns.grants(r, f)
		}
		if err != nil {
			a.ns.node.monitor.ReportIn(s.Context, a.ns.notServed(r, err))
			resp.Err = err.Error()
			a.ns.desk.Answer(s)
			return false
		}
	}
	switch {
	case r.Op == wire.OpLeave && r.ByID:
		resp.NotFound = !rooms.Leave(r.Member, r.Targets) || !d.FindID(rooms, r.Member)
	case r.Op == wire.OpLeave:
		d.FindAndLeave(rooms, f, r.Targets)
	case r.ByID:
		resp.NotFound = true
		if _, here := rooms.Member(r.Member); here {
			s.Enter(func() { resp.NotFound = !rooms.Grant(r.Member, r.Targets) || !d.FindID(rooms, r.Member) })
		}
	case rooms.Selects(f):
		s.Enter(func() { d.FindAndGrant(rooms, f, r.Targets) })
	}
	if !r.ByID {
		resp.Count = len(d.List)
	}
	if !moved(d, r.Op == wire.OpLeave, r.Targets) {
		a.ns.desk.Answer(s)
		return false
	}
	d.All, d.Context = true, s.Context
	a.after = func(*delivery) { a.ns.desk.Answer(s) }
	return true
}

// grants refuses a request of another node that makes too many memberships.
func (ns *Namespace) grants(r *wire.Request, f filter) error {
	n := 0
	if !r.ByID {
		n = ns.rooms.Count(f)
	} else if _, here := ns.rooms.Member(r.Member); here {
		n = 1
	}
	if ns.rooms.Grants(n, r.Targets) {
		return nil
	}
	return fmt.Errorf("%w: %d members in %d rooms", errMemberships, n, len(r.Targets))
}

var errMemberships = errors.New("other nodes have put members of this node into too many rooms")

// disconnect carries out OpDisconnect.
func (a *arrivals) disconnect(r *wire.Request, s *serve.Request[Member], d *delivery) {
	resp := &s.Response
	if r.ByID {
		resp.NotFound = !d.FindID(a.ns.rooms, r.Member)
	} else {
		d.Find(a.ns.rooms, filterOf(r.Rooms, r.All, r.Except))
	}
	d.Call, d.All, d.Context = disconnectCall{r.Close, wire.ReasonOf(r.Header)}, r.ByID, s.Context
	a.after = func(d *delivery) {
		resp.Count = d.Delivered()
		// It may have been removed since it was selected.
		resp.NotFound = resp.NotFound || r.ByID && d.Skipped() > 0
		a.ns.desk.Answer(s)
	}
}

// ackBroadcast carries out OpBroadcast.
func (a *arrivals) ackBroadcast(r *wire.Request, s *serve.Request[Member], d *delivery) {
	ns := a.ns
	d.Find(ns.rooms, filterOf(r.Rooms, r.All, r.Except))
	m := ns.message(Message{Namespace: ns.name, Origin: r.Origin, Header: r.Header, Payload: r.Payload}, r.Flags)
	if len(d.List) > 0 && !ns.prepare(m) {
		d.Selection.Reset()
	}
	s.Response.Count = acking(d.List)
	d.Context = s.Context
	d.Call = &ackCall{m, func(value []byte) {
		if ns.ctx.Err() == nil {
			_ = s.Reply(&wire.Response{Request: r, RequestID: r.ID, Node: ns.node.id, Ack: true, Payload: value})
		}
	}}
	// Acknowledgements may overtake the number; requesters wait for both.
	ns.desk.Answer(s)
}
