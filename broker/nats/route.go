package natsbroker

import (
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
)

// routesKept is how many routes are remembered.
const routesKept = 1 << 13

// routes are remembered, by how messages come.
type routes struct{ by map[origin]*route }

// origin is how a message has come.
type origin struct {
	sub     *nats.Subscription
	subject string
}

// route is where a message goes.
type route struct {
	ch    broker.Channel
	u     *subscription // nil: nowhere
	epoch uint64
}

// receive passes on one message that has arrived over l. It is for the goroutine that
// drains the connection.
func (s *subscriber) receive(l *conn, m *nats.Msg) {
	f, payload, ok := readFrame(m.Data)
	if !ok || f.from == s.self {
		// Somebody else's idea of a message, or one of our own that was left behind at a
		// server that we lost: it was returned, or counts as uncertain.
		return
	}
	r := s.route(l, m, &f)
	for r.u != nil && r.u.in.Wants(&r.ch) {
		u := r.u
		switch u.sequence.check(f.from, f.seq) {
		case duplicate:
			return
		case overtaken:
			u.sequence.record(f.from, f.seq)
			u.in.Miss(len(payload), errOvertaken)
			return
		}
		if u.in.Deliver(r.epoch, &r.ch, payload) {
			u.sequence.record(f.from, f.seq)
			return
		}
		// A filter has gone in this moment, perhaps the one in question.
		r = s.find(l, m, &f)
	}
}

// route returns where a message goes. It remembers that until something changes, so
// that most messages need no lock.
func (s *subscriber) route(l *conn, m *nats.Msg, f *frame) *route {
	if f.named {
		return s.find(l, m, f)
	}
	known := s.routes.Load()
	from := origin{m.Sub, m.Subject}
	r := known.by[from]
	if r == nil {
		r = s.find(l, m, f)
		if known.by == nil || len(known.by) >= routesKept {
			known.by = map[origin]*route{}
		}
		known.by[from] = r // for nobody, if there are others by now
	}
	return r
}

// find finds out where a message goes.
func (s *subscriber) find(l *conn, m *nats.Msg, f *frame) *route {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.states[m.Sub]
	if e == nil || s.conn != l || e.u.interrupted {
		return &route{}
	}
	ch, long, ok := e.filter.Channel(), false, true
	if e.filter.IsEveryRoom() {
		ch, long, ok = s.names.parse(m.Subject)
	} else {
		long = hashed(ch)
	}
	if f.named {
		ch = f.channel(ch)
		long = s.names.subject(ch) != m.Subject
	}
	// While a filter is being added another one may be live that selects the message
	// too, so its copies count as soon as either is.
	if !ok || long || ch.Validate() != nil || !e.filter.Matches(ch) || !e.active && !e.u.matches(ch) {
		return &route{}
	}
	return &route{ch: ch, u: e.u, epoch: e.u.in.Epoch()}
}

// localSubscribers returns those here who want a message that is about to be published. They are
// not asked if they expect something that may change it.
func (s *subscriber) localSubscribers(to *target, expects bool) []*subscription {
	known := to.local.Load()
	if known == nil {
		known = s.findLocal(to)
	}
	here := *known
	for i, u := range here {
		if expects || u.in.Wants(&to.ch) {
			continue
		}
		subs := slices.Clone(here[:i])
		for _, u := range here[i+1:] {
			if u.in.Wants(&to.ch) {
				subs = append(subs, u)
			}
		}
		return subs
	}
	return here
}

// findLocal finds out which subscriptions findLocal an address is for, and has the address remember
// it until that changes.
func (s *subscriber) findLocal(to *target) *[]*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := to.local.Load(); known != nil {
		return known
	}
	subs := slices.Clone(s.holders[broker.Exactly(to.ch)])
	var others []*subscription
	switch to.ch.Kind() {
	case broker.KindRoom, broker.KindBroadcast:
		others = s.holders[to.ch.Protocol().EveryRoom(to.ch.Namespace())]
	case broker.KindRequests:
		others = s.holders[to.ch.Protocol().Uncounted(to.ch.Namespace())]
	}
	for _, u := range others {
		if !slices.Contains(subs, u) {
			subs = append(subs, u)
		}
	}
	if len(s.cached) >= targetsKept {
		s.changed()
	}
	to.local.Store(&subs)
	s.cached = append(s.cached, to)
	return &subs
}

// deliverOwn delivers a message of our own that the server has.
func (s *subscriber) deliverOwn(ch *broker.Channel, own *local) {
	for _, u := range own.subs {
		for {
			s.mu.Lock()
			epoch, wanted := u.in.Epoch(), !u.interrupted && u.matches(*ch)
			s.mu.Unlock()
			if !wanted || u.in.Deliver(epoch, ch, own.payload) {
				break
			}
		}
	}
}
