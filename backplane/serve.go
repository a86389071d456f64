package backplane

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// request takes in another node's request. What changes memberships or calls members
// is done here, in its place among the broadcasts: a member that is put into a room gets
// what is sent to the room next. The rest, and every answer, is the desk's.
func (a *arrivals) request(ch broker.Channel, payload []byte, d *delivery) (deliver bool) {
	ns := a.ns
	r := new(wire.Request)
	if err := ns.codec.DecodeRequest(payload, ns.name, r); err != nil {
		a.drop(ch, reasonOf(err), err)
		return false
	}
	if r.Origin == ns.node.id || ns.requests.Own(r.ID) {
		a.drop(ch, observe.DropEcho, nil)
		return false
	}
	ns.node.headerDropped(r.HeaderDropped)
	ns.node.members.Heard(r.Origin)
	s := &served{ns: ns, req: r, size: len(payload)}
	switch r.Op {
	case wire.OpJoin, wire.OpLeave:
		s.begin()
		s.move()
		ns.desk.answer(s)
	case wire.OpDisconnect:
		s.begin()
		a.disconnect(s, d)
		return true
	case wire.OpBroadcast:
		s.begin()
		a.ackBroadcast(s, d)
		return true
	case wire.OpMembers, wire.OpRoomsOf, wire.OpRooms:
		s.begin()
		ns.desk.query(s)
	case wire.OpCustom, wire.OpEvent:
		s.begin()
		ns.desk.call(s)
	default:
		a.drop(ch, observe.DropForeign, nil)
	}
	return false
}

// served is a request of another node being carried out.
type served struct {
	ns   *Namespace
	req  *wire.Request
	size int // of the request, in bytes
	resp wire.Response
	// short was sent instead of resp, and why says so; nil if resp fitted.
	short *wire.Response
	why   error
	ctx   context.Context // the observer's
	data  observe.Serve
}

func (s *served) begin() {
	s.resp.Request, s.resp.RequestID, s.resp.Node = s.req, s.req.ID, s.ns.node.id
	s.ctx = s.ns.ctx
	if so := s.ns.node.observe.Serve; so != nil {
		s.data = observe.Serve{
			Source: s.ns.node.source, Namespace: s.ns.name, Op: s.req.Op.String(), ID: s.req.ID, Origin: s.req.Origin,
			NoReply: s.req.ID == "" || s.req.NoReply, Header: s.req.Header, HeaderDropped: s.req.HeaderDropped,
			PayloadBytes: len(s.req.Payload),
		}
		s.ctx = observedStart(s.ctx, s.ns.node, "ServeStart", observe.Observer.ServeStart, so, &s.data)
	}
}

// done closes the books. err is why the answer could not be published.
func (s *served) done(err error) {
	s.ns.node.counters.served.Add(1)
	if so := s.ns.node.observe.Serve; so != nil {
		if s.data.Err == nil {
			s.data.Err = err
		}
		s.ns.node.observed("ServeEnd", func() { so.ServeEnd(s.ctx, &s.data) })
	}
}

// move carries out OpJoin and OpLeave.
func (s *served) move() {
	r, rooms := s.req, s.ns.rooms
	byID, selected := rooms.Join, rooms.JoinSelected
	if r.Op == wire.OpLeave {
		byID, selected = rooms.Leave, rooms.LeaveSelected
	}
	if r.ByID {
		s.resp.NotFound = !byID(r.Member, r.Targets)
	} else {
		s.resp.Count = selected(r.Rooms, r.Except, r.Targets)
	}
}

// disconnect carries out OpDisconnect.
func (a *arrivals) disconnect(s *served, d *delivery) {
	r := s.req
	if r.ByID {
		s.resp.NotFound = !d.FindID(a.ns.rooms, r.Member)
	} else {
		d.Find(a.ns.rooms, r.Rooms, r.Except)
	}
	d.Call, d.All, d.Context = disconnectCall(r.Close), r.ByID, s.ctx
	a.after = func(d *delivery) {
		s.resp.Count = d.Delivered()
		// It may have been removed since it was found.
		s.resp.NotFound = s.resp.NotFound || r.ByID && d.Skipped() > 0
		a.ns.desk.answer(s)
	}
}

// ackBroadcast carries out OpBroadcast.
func (a *arrivals) ackBroadcast(s *served, d *delivery) {
	ns, r := a.ns, s.req
	d.Find(ns.rooms, r.Rooms, r.Except)
	m := ns.message(Message{Namespace: ns.name, Origin: r.Origin, Header: r.Header, Payload: r.Payload}, r.Flags)
	if len(d.List) > 0 && !ns.prepare(m) {
		d.Selection.Reset()
	}
	s.resp.Count = acking(d.List)
	d.Context = s.ctx
	d.Call = &ackCall{m, func(value []byte) {
		if ns.ctx.Err() == nil {
			_ = s.reply(&wire.Response{Request: r, RequestID: r.ID, Node: ns.node.id, Ack: true, Payload: value})
		}
	}}
	// Acknowledgements may overtake the number; askers wait for both.
	ns.desk.answer(s)
}

var errNoHandler = errors.New("no handler")

// custom carries out OpCustom.
func (s *served) custom() {
	defer s.end()
	defer s.guard()
	hook, err := s.ns.opts.OnRequest, errNoHandler
	if hook != nil {
		ctx, cancel := context.WithTimeout(s.ctx, s.ns.node.opts.RequestsTimeout)
		defer cancel()
		s.resp.Payload, err = hook(ctx, s.req.Origin, s.req.Payload)
	}
	if err != nil {
		s.resp.Payload, s.resp.Err, s.data.Err = nil, err.Error(), err
	}
}

// event carries out OpEvent. If an answer is wanted it is sent when the application
// calls reply, which may be after OnEvent has returned.
func (s *served) event() {
	hook := s.ns.opts.OnEvent
	var once sync.Once
	done := func(failed, err error) {
		once.Do(func() {
			s.data.Err = failed
			s.done(err)
		})
	}
	send := func(resp wire.Response) error {
		resp.Request, resp.RequestID, resp.Node = s.req, s.req.ID, s.ns.node.id
		return s.reply(&resp)
	}
	answer := &ackOnce{do: func(value []byte) { done(nil, send(wire.Response{Payload: slices.Clone(value)})) }}
	var reply func([]byte)
	if s.req.ID != "" && !s.req.NoReply {
		reply = answer.call
	}
	failed := s.callEvent(hook, reply)
	switch {
	case reply == nil:
	case failed != nil && answer.used.CompareAndSwap(false, true):
		done(failed, send(wire.Response{Err: "OnEvent panicked"}))
	case hook == nil:
		reply(nil)
	}
	done(failed, nil)
}

func (s *served) callEvent(hook func(context.Context, string, []byte, func([]byte)), reply func([]byte)) (failed error) {
	if hook == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			failed = s.ns.node.panickedIn(s.ctx, "OnEvent", "", v)
		}
	}()
	ctx, cancel := context.WithTimeout(s.ctx, s.ns.node.opts.RequestsTimeout)
	defer cancel()
	hook(ctx, s.req.Origin, s.req.Payload, reply)
	return nil
}

// guard turns OnRequest's panic into a report and an error answer.
func (s *served) guard() {
	if v := recover(); v != nil {
		s.data.Err = s.ns.node.panickedIn(s.ctx, "OnRequest", "", v)
		s.resp.Payload, s.resp.Err = nil, "OnRequest panicked"
	}
}
