package natsbroker

import (
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
)

// entry is a filter of one subscription, and its subscription on the server.
type entry struct {
	u       *subscription
	filter  broker.Filter
	subject string
	sub     *nats.Subscription // over the present link, nil if there is none
	denied  bool               // the server has refused sub
	granted bool               // the server has answered for sub, and not refused it
	refused error              // why the server refused it last, until granted
	over    int                // refusals.over before sub was sent
	live    bool               // Subscribe or Add has succeeded
	joining int                // calls of these underway
	parting *time.Timer        // ends it; nil if it is not about to end
}

// parting is how long a filter that is removed stays subscribed to on the server while
// another one of the same subscription selects the same. The server may be about to
// send a message for which it looked up subscribers before it heard of the other one:
// without this nobody would get it. Longer than any server holds one message.
const parting = time.Second

// enliven makes an entry live, and deaden ends that. mu is held.
func (s *subscriber) enliven(e *entry) {
	if !e.live {
		e.live = true
		s.holders[e.filter] = append(slices.Clip(s.holders[e.filter]), e.u)
		s.spaces[spaceOf(e.filter)]++
		s.changed()
	}
}

func (s *subscriber) deaden(e *entry) {
	if !e.live {
		return
	}
	e.live = false
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

// part ends an entry that is not live, soon if that must not be at once. mu is held.
func (s *subscriber) part(e *entry) {
	if e.joining > 0 {
		return
	}
	if !e.overlapped() {
		s.leave(e)
		return
	}
	e.stay()
	var t *time.Timer
	t = time.AfterFunc(parting, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if e.parting == t {
			s.leave(e)
		}
	})
	e.parting = t
}

// overlapped reports whether a live filter of the same subscription selects something that
// e, which is not live, selects too. The subscriber's mutex is held.
func (e *entry) overlapped() bool {
	if !e.filter.IsEveryRoom() {
		return e.u.matches(e.filter.Channel()) // of many rooms none needs a look at all others
	}
	for _, other := range e.u.entries {
		if other.live && e.filter.Matches(other.filter.Channel()) {
			return true
		}
	}
	return false
}

// stay undoes part. mu is held.
func (e *entry) stay() {
	if e.parting != nil {
		e.parting.Stop()
		e.parting = nil
	}
}

// leave ends an entry, and its subscription on the server. mu is held.
func (s *subscriber) leave(e *entry) {
	e.stay()
	delete(e.u.entries, e.filter)
	s.unsubscribe(e)
}

// unsubscribe ends an entry's subscription on the server, if it has one. mu is held.
func (s *subscriber) unsubscribe(e *entry) {
	if e.sub != nil {
		delete(s.of, e.sub)
		_ = e.sub.Unsubscribe() // fails if the link has ended, and then it is no more
		e.sub = nil
	}
}
