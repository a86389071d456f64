package natsbroker

import (
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/broker"
)

// routesKept limits how many routes are cached.
const routesKept = 1 << 13

// routes is a cache of routes, by the origin of messages.
type routes struct{ by map[origin]*route }

// origin is the subscription on the server and the subject by which a message arrived.
type origin struct {
	sub     *nats.Subscription
	subject string
}

// route is a channel and the subscription that gets its messages.
type route struct {
	ch    broker.Channel
	u     *subscription // nil if there is none
	epoch uint64
}

// receive passes on one message that arrived over l. Only the goroutine that drains the connection
// calls it.
func (s *subscriber) receive(l *conn, m *nats.Msg) {
	f, payload, ok := readFrame(m.Data)
	if !ok {
		return // a message of another program
	}
	r, sum := s.route(l, m, &f), uint64(0)
	for r.u != nil && r.u.in.Wants(&r.ch) {
		u := r.u
		if sum == 0 {
			sum = sumOf(m)
		}
		p, order := u.publishers.check(&f, sum)
		switch order {
		case duplicate:
			// Or one of this broker that a lost server had kept, which counts as uncertain.
			return
		case overtaken:
			p.record(&f, sum)
			u.in.Miss(len(payload), errOvertaken)
			return
		}
		if u.in.Deliver(r.epoch, &r.ch, payload) {
			p.record(&f, sum)
			return
		}
		// A filter was removed just now, perhaps the one of this message.
		r = s.find(l, m, &f)
	}
}

// route returns the route of a message. It is cached until the subscriptions change, so most
// messages need no lock.
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
		known.by[from] = r // without effect if changed has replaced the cache meanwhile
	}
	return r
}

// find finds the subscription that gets a message.
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
	// While a filter is being added, another live filter may select the message too. Therefore
	// its copies count as soon as either filter is live.
	if !ok || long || ch.Validate() != nil || !e.filter.Matches(ch) || !e.active && !e.u.matches(ch) {
		return &route{}
	}
	return &route{ch: ch, u: e.u, epoch: e.u.in.Epoch()}
}

// localSubscribers returns the local subscriptions that want a message that is about to be published.
// If expects is true, they all count as wanting it, because a delivery may change what they want.
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

// findLocal finds the local subscriptions that select a target's channel. The target caches them
// until the subscriptions change.
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

// deliverOwn delivers a message of this broker to local subscriptions, after the server has it.
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
