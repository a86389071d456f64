package natsbroker

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
)

// filterState is the state of one filter of one subscription, and its subscription on the server.
type filterState struct {
	u       *subscription
	filter  broker.Filter
	subject string
	sub     *nats.Subscription // over the present connection, nil if there is none
	denied  bool               // the server has refused sub
	granted bool               // the server has confirmed sub
	refused error              // the last refusal, until granted
	over    int                // violations.over before sub was sent
	active  bool               // Subscribe or Add has succeeded
	adding  int                // running calls of these
	ending  *time.Timer        // unsubscribes when it fires; nil if that is not scheduled
}

// overlap is how long a removed filter stays subscribed on the server while another filter of the
// same subscription selects the same messages. The server may be about to send a message whose
// subscribers it looked up before it processed the other filter. Without the overlap that message
// would be lost. overlap is longer than any server holds one message.
const overlap = time.Second

// activate makes a filter live, and deactivate reverses that. mu is held.
func (s *subscriber) activate(e *filterState) {
	if !e.active {
		e.active = true
		s.holders[e.filter] = append(slices.Clip(s.holders[e.filter]), e.u)
		s.spaces[spaceOf(e.filter)]++
		s.changed()
	}
}

func (s *subscriber) deactivate(e *filterState) {
	if !e.active {
		return
	}
	e.active = false
	s.changed()
	rest := slices.DeleteFunc(slices.Clone(s.holders[e.filter]), func(u *subscription) bool { return u == e.u })
	if len(rest) > 0 {
		s.holders[e.filter] = rest
	} else {
		delete(s.holders, e.filter)
	}
	sp := spaceOf(e.filter)
	if s.spaces[sp]--; s.spaces[sp] == 0 {
		delete(s.spaces, sp)
		s.forget()
	}
}

// scheduleEnd ends a filter that is not live: at once, or after overlap. mu is held.
func (s *subscriber) scheduleEnd(e *filterState) {
	if e.adding > 0 {
		return
	}
	if !e.overlapped() {
		s.end(e)
		return
	}
	e.cancelEnd()
	var t *time.Timer
	t = time.AfterFunc(overlap, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.ending == t {
			s.end(e)
		}
	})
	e.ending = t
}

// overlapped reports whether a live filter of the same subscription selects messages that e, which
// is not live, selects too. The subscriber's mutex is held.
func (e *filterState) overlapped() bool {
	if !e.filter.IsEveryRoom() {
		return e.u.matches(e.filter.Channel()) // faster than a search of all filters
	}
	for _, other := range e.u.filters {
		if other.active && e.filter.Matches(other.filter.Channel()) {
			return true
		}
	}
	return false
}

// cancelEnd undoes scheduleEnd. mu is held.
func (e *filterState) cancelEnd() {
	if e.ending != nil {
		e.ending.Stop()
		e.ending = nil
	}
}

// end removes a filter, and its subscription on the server. mu is held.
func (s *subscriber) end(e *filterState) {
	e.cancelEnd()
	delete(e.u.filters, e.filter)
	s.unsubscribe(e)
}

// unsubscribe removes a filter's subscription on the server, if it has one. mu is held.
func (s *subscriber) unsubscribe(e *filterState) {
	if e.sub != nil {
		delete(s.states, e.sub)
		_ = e.sub.Unsubscribe() // fails only if the connection has ended, and the subscription with it
		e.sub = nil
	}
}
