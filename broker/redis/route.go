package redisbroker

import "github.com/crossroom/crossroom/broker"

// routesKept limits how many channel names are cached with their routes, and longestKept how many
// bytes each name may have: any client may publish to names of 64 KiB.
const (
	routesKept  = 1 << 13
	longestKept = 1 << 10
)

// routes is a cache of routes by name: for messages of that name, and for messages of a pattern.
type routes struct{ exact, patterned map[string]*route }

// route is a channel and the subscriptions that get its messages.
type route struct {
	ch      broker.Channel
	targets []target
}

// target is a subscription that gets a message. epoch is that of its inbox when the route was made.
type target struct {
	sub    *subscription
	epoch  uint64
	wanted bool // for the message that is being read
}

// message reads a message's payload and delivers it to the subscriptions that want it. It
// skips the payload if none does.
func (s *subscriber) message(l *link, c *conn, f *frame) error {
	r := s.route(l, f)
	wanted := 0
	for i := range r.targets {
		t := &r.targets[i]
		if t.wanted = t.sub.in.Wants(&r.ch); t.wanted {
			wanted++
		}
	}
	if wanted == 0 {
		return skipPayload(c.r)
	}
	payload, err := readPayload(c.r)
	if err != nil {
		return err
	}
	for i := range r.targets {
		t := &r.targets[i]
		for epoch := t.epoch; t.wanted && !t.sub.in.Deliver(epoch, &r.ch, payload); {
			epoch, t.wanted = s.stillWanted(t.sub, r.ch)
		}
	}
	return nil
}

// route returns the route of a message. It is cached until the subscriptions change, so most
// messages need no lock.
func (s *subscriber) route(l *link, f *frame) *route {
	known := l.routes.Load()
	by := &known.exact
	if f.kind == framePMessage {
		by = &known.patterned
	}
	r := (*by)[string(f.name)]
	if r == nil {
		r = s.find(l, f)
		if len(f.name) > longestKept {
			return r
		}
		if *by == nil || len(*by) >= routesKept {
			*by = map[string]*route{}
		}
		(*by)[string(f.name)] = r // without effect if changed has replaced the cache meanwhile
	}
	return r
}

// find finds the subscriptions that get a message.
//
// A message that matches both a name and a pattern comes twice from the server: first for the
// name, and directly afterwards for the pattern. No name matches two patterns of this package.
// If the pattern is live, the second frame is delivered to all subscriptions and the first to
// none. Only the order of frames decides this. Therefore a filter that is added or removed
// between the two frames neither duplicates nor loses the message.
func (s *subscriber) find(l *link, f *frame) *route {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &route{}
	exact := s.reg.entries[string(f.name)]
	if f.kind == framePMessage {
		pattern := s.reg.entries[string(f.pattern)]
		if pattern == nil || !pattern.sends() {
			return r
		}
		var ok bool
		if r.ch, ok = s.names.parse(string(f.name)); !ok {
			return r // a message of another program on a name that matches the pattern
		}
		r.aim(pattern, nil)
		if exact != nil {
			r.aim(exact, pattern)
		}
		return r
	}
	if exact != nil && exact.link == l {
		if r.ch = exact.filter.Channel(); !s.covered(r.ch) {
			r.aim(exact, nil)
		}
	}
	return r
}

// aim adds the subscriptions of an entry to the targets, except those that have the entry except.
func (r *route) aim(e *entry, except *entry) {
	for _, u := range e.subs {
		if u.down && u.broken[e] || except != nil && u.filters[except.filter] != nil {
			continue
		}
		r.targets = append(r.targets, target{sub: u, epoch: u.in.Epoch()})
	}
}

// stillWanted checks a target again after filters of its subscription were removed.
func (s *subscriber) stillWanted(u *subscription, ch broker.Channel) (epoch uint64, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return u.in.Epoch(), u.matches(ch)
}

// covered reports whether a live pattern also matches ch.
func (s *subscriber) covered(ch broker.Channel) bool {
	if len(s.reg.patterns) == 0 {
		return false
	}
	if ch.Kind() == broker.KindRoom {
		ch = ch.Protocol().Broadcast(ch.Namespace())
	}
	e := s.reg.patterns[ch]
	return e != nil && e.sends()
}
