package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// end publishes the response, if the requester wants one.
func (s *Request[M]) end() {
	s.settle()
	s.done(s.Reply(&s.Response))
}

// wanted reports whether the requester waits for a response.
func (s *Request[M]) wanted() bool { return s.req.ID != "" && !s.req.NoReply }

// Reply publishes a response. If its content cannot be published, the requester gets a shorter one, or one with the
// reason, or, if its form has no place for that, one without a value.
func (s *Request[M]) Reply(resp *wire.Response) error {
	if !s.wanted() {
		return nil
	}
	unfit, err := s.send(resp)
	if unfit != nil {
		_, _ = s.publish(&wire.Response{Request: resp.Request, RequestID: resp.RequestID, Node: resp.Node, Ack: resp.Ack, Err: unfit.Error()})
	}
	s.report(err)
	return err
}

// report reports that the requester gets an incomplete response, or none.
func (s *Request[M]) report(err error) {
	if o := &s.desk.o; err != nil && o.Context.Err() == nil {
		o.Monitor.ReportIn(s.Context, o.Failed(s.req, err))
	}
}

// send publishes a response. A list that is too large for one message goes to a Crossroom node in several; a member
// that is too large by itself goes without its data. Other requesters count the messages, so they get a shorter list.
func (s *Request[M]) send(resp *wire.Response) (unfit, err error) {
	unfit, err = s.publish(resp)
	if unfit == nil || resp.Ack {
		return unfit, err
	}
	if !s.req.Native {
		return s.shorten(resp, err)
	}
	if !isTooLarge(err) {
		return unfit, err
	}
	first, rest := *resp, *resp
	first.More = true
	switch members, rooms := len(resp.Members), len(resp.Rooms); {
	case members > 1:
		first.Members, rest.Members = resp.Members[:members/2], resp.Members[members/2:]
	case members == 1 && resp.Members[0].Data != nil:
		s.report(err)
		m := resp.Members[0]
		m.Data = nil
		rest.Members = []wire.MemberInfo{m}
		return s.publish(&rest)
	case s.req.Op == wire.OpRooms && rooms > 1:
		first.Rooms, rest.Rooms = resp.Rooms[:rooms/2], resp.Rooms[rooms/2:]
	default:
		return unfit, err
	}
	if unfit, err = s.send(&first); err != nil {
		return unfit, err
	}
	return s.send(&rest)
}

func isTooLarge(err error) bool {
	_, ok := errors.AsType[*broker.PayloadError](err)
	return ok
}

// shorten publishes a list that does not fit into a message, or that cannot be encoded, with less data of each member,
// and then with fewer members, so that a requester that waits for one message gets one. why is the defect of the whole
// list.
func (s *Request[M]) shorten(resp *wire.Response, why error) (unfit, err error) {
	short := *resp
	if s.req.Op == wire.OpMembers && s.req.Detail {
		for short.Brief = 1; short.Brief <= wire.MaxBrief; short.Brief++ {
			if unfit, err = s.publish(&short); unfit == nil {
				s.shortened(&short, err, fmt.Errorf("sent with less data of each member: %w", why))
				return nil, err
			}
		}
		short.Brief = wire.MaxBrief
	}
	all := max(len(resp.Members), len(resp.Rooms))
	if s.req.Op != wire.OpMembers && s.req.Op != wire.OpRooms && s.req.Op != wire.OpRoomsOf || all == 0 {
		return why, why
	}
	for n := all; n > 0; {
		n = fewer(n, err)
		short.Members, short.Rooms = resp.Members[:min(n, len(resp.Members))], resp.Rooms[:min(n, len(resp.Rooms))]
		if unfit, err = s.publish(&short); unfit == nil {
			s.shortened(&short, err, fmt.Errorf("sent with %d of %d members: %w", n, all, why))
			return nil, err
		}
	}
	return unfit, err
}

// shortened keeps and reports the response that was sent instead of the whole one.
func (s *Request[M]) shortened(short *wire.Response, err, why error) {
	if err == nil {
		s.short, s.why = short, why
		s.report(why)
	}
}

// like gives s the response that fitted for another requester of the same.
func (s *Request[M]) like(first *Request[M]) error {
	s.Response.Brief, s.Response.Members, s.Response.Rooms = first.short.Brief, first.short.Members, first.short.Rooms
	err := s.Reply(&s.Response)
	if err == nil {
		s.report(first.why)
	}
	return err
}

// fewer returns how many of n to try next.
func fewer(n int, err error) int {
	less := n / 2
	if large, ok := errors.AsType[*broker.PayloadError](err); ok && large.Size > large.Max {
		less = int(float64(n) * float64(large.Max) / float64(large.Size))
	}
	return min(less, n-1-n/64)
}

// publish publishes one message. unfit is set if its content was the reason for a failure.
func (s *Request[M]) publish(resp *wire.Response) (unfit, err error) {
	o := &s.desk.o
	var buf []byte
	if s.room > 0 {
		buf = make([]byte, 0, s.room+s.room/8+256)
	}
	buf, err = o.Codec.AppendResponse(buf, o.Namespace, resp)
	if err != nil || len(buf) == 0 {
		return err, err
	}
	// A node that leaves sends its last responses too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context), o.Timeout)
	defer cancel()
	err = o.Broker.Publish(ctx, o.Codec.ResponseChannel(o.Namespace, resp), buf)
	if size, ok := errors.AsType[*broker.PayloadError](err); ok {
		unfit = fmt.Errorf("response of %d bytes exceeds the broker's limit", size.Size)
	}
	return unfit, err
}
