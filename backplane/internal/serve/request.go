package serve

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/monitor"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// Request is a request of another node being carried out.
type Request[M any] struct {
	// Response is published by Desk.Answer.
	Response wire.Response
	// Context of the observer.
	Context context.Context

	desk *Desk[M]
	req  *wire.Request
	size int                         // of the request in memory, in bytes
	came time.Time                   // when it was received
	room int                         // approximate size of the next response; zero: unknown
	live func(context.Context) error // nil: see settle
	// short was sent instead of Response, because of why; nil if Response was short enough
	short *wire.Response
	why   error
	data  observe.Serve
}

func (s *Request[M]) observeStart() {
	m, r := s.desk.o.Monitor, s.req
	if so := m.Observers.Serve; so != nil {
		s.data = observe.Serve{
			Source: m.Source, Namespace: s.desk.o.Namespace, Op: r.Op.String(), ID: r.ID, Origin: r.Origin,
			NoReply: !s.wanted(), Header: r.Header, HeaderDropped: r.HeaderDropped, PayloadBytes: len(r.Payload),
		}
		s.Context = monitor.Start(s.Context, m, "ServeStart", observe.Observer.ServeStart, so, &s.data)
	}
}

// done counts the request and ends its observation. err is the cause if the response could not be published.
func (s *Request[M]) done(err error) {
	m := s.desk.o.Monitor
	m.Served.Add(1)
	if so := m.Observers.Serve; so != nil {
		if s.data.Err == nil {
			s.data.Err = err
		}
		m.Observed("ServeEnd", func() { so.ServeEnd(s.Context, &s.data) })
	}
}

func (s *Request[M]) refused(err error) {
	o := &s.desk.o
	o.Monitor.Refused.Add(1)
	o.Monitor.ReportIn(s.Context, o.Failed(s.req, err))
	s.Response.Busy, s.Response.Err, s.data.Err = err == o.Busy, err.Error(), err
}

// late reports whether the requester's time has passed.
func (s *Request[M]) late() bool { return time.Since(s.came) > s.desk.timeout(s.req.Native) }

// left reports whether the requester is known to have left.
func (s *Request[M]) left() bool { return s.req.Native && s.desk.o.Left(s.req.Origin) }

// Enter calls join, which puts members into the rooms of the request, in its place among the
// broadcasts.
func (s *Request[M]) Enter(join func()) {
	set := s.desk.o.Interest
	s.live = set.EnterFirst(s.req.Targets, s.wanted(), join)
	if !s.wanted() {
		set.Unawaited()
	}
}

// settle waits until the rooms that members have joined are subscribed to, so that the requester
// gets its response afterwards.
func (s *Request[M]) settle() {
	if s.live == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.Context, s.desk.o.Timeout)
	defer cancel()
	if err := s.live(ctx); err != nil {
		s.Response.Count, s.Response.Err, s.data.Err = 0, err.Error(), err
		if ctx.Err() == nil {
			s.desk.o.Lost(s.req.Targets, err)
		}
	}
	s.live = nil
}

var errNoHandler = errors.New("no handler")

// custom carries out OpCustom.
func (s *Request[M]) custom() {
	defer s.end()
	defer s.guard()
	hook, err := s.desk.o.OnRequest, errNoHandler
	if hook != nil {
		ctx, cancel := context.WithTimeout(s.Context, s.desk.o.Timeout)
		defer cancel()
		s.Response.Payload, err = hook(ctx, s.req.Origin, s.req.Payload)
	}
	if err != nil {
		s.Response.Payload, s.Response.Err, s.data.Err = nil, err.Error(), err
	}
}

// guard converts a panic of OnRequest to a report and an error response.
func (s *Request[M]) guard() {
	if v := recover(); v != nil {
		s.data.Err = s.desk.o.Monitor.PanickedIn(s.Context, "OnRequest", "", v)
		s.Response.Payload, s.Response.Err = nil, "OnRequest panicked"
	}
}

// event carries out OpEvent. A wanted response is sent when the application calls reply, which may be after OnEvent
// has returned.
func (s *Request[M]) event() {
	var once sync.Once
	done := func(failed, err error) {
		once.Do(func() {
			s.data.Err = failed
			s.done(err)
		})
	}
	send := func(resp wire.Response) error {
		resp.Request, resp.RequestID, resp.Node = s.req, s.req.ID, s.desk.o.Node
		return s.Reply(&resp)
	}
	var answered atomic.Bool
	var reply func([]byte)
	if s.wanted() {
		reply = func(value []byte) {
			if answered.CompareAndSwap(false, true) {
				done(nil, send(wire.Response{Payload: slices.Clone(value)}))
			}
		}
	}
	failed := s.callEvent(reply)
	switch {
	case reply == nil:
	case failed != nil && answered.CompareAndSwap(false, true):
		done(failed, send(wire.Response{Err: "OnEvent panicked"}))
	case s.desk.o.OnEvent == nil:
		reply(nil)
	}
	done(failed, nil)
}

func (s *Request[M]) callEvent(reply func([]byte)) (failed error) {
	hook := s.desk.o.OnEvent
	if hook == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			failed = s.desk.o.Monitor.PanickedIn(s.Context, "OnEvent", "", v)
		}
	}()
	ctx, cancel := context.WithTimeout(s.Context, s.desk.o.Timeout)
	defer cancel()
	hook(ctx, s.req.Origin, s.req.Payload, reply)
	return nil
}
