package redisbroker

import "github.com/crossroom/crossroom/broker"

// phase is the state of an entry on the server, over the present connection.
type phase uint8

const (
	off     phase = iota // not subscribed
	joining              // SUBSCRIBE is to be sent, or sent and not confirmed
	live                 // confirmed
	leaving              // UNSUBSCRIBE is to be sent, or sent and not confirmed
)

// entry is one name or pattern. All subscriptions and requests with that filter share it, and
// one subscription on the server.
type entry struct {
	name     string
	pattern  bool
	filter   broker.Filter
	other    string // the name that shows subscribers of the other layout, or empty
	slot     uint16 // in a cluster's sharded layout; else zero
	link     *link  // nil while no master of the slot is known
	hops     int    // redirections since it was live
	phase    phase
	subs     []*subscription // that have the filter
	requests []*request      // that wait for it
	released []chan struct{} // closed when the server has confirmed UNSUBSCRIBE
}

// wanted reports whether a subscription or a request needs the entry.
func (e *entry) wanted() bool { return len(e.subs)+len(e.requests) > 0 }

// sends reports whether messages that the server sends for the entry are to be delivered.
// Messages that arrive while the entry is joining belong to a subscription that the server had
// kept.
func (e *entry) sends() bool { return e.phase == live || e.phase == leaving }

// request is a running Subscribe or Add. All of its filters become active at once when the last
// of them is live, or none does.
type request struct {
	sub     *subscription
	entries []*entry
	pending int        // entries that are not live
	done    chan error // capacity 1
}

// registry holds the entries, the subscriptions and the requests, and which link has which entry.
// The subscriber's mutex guards it. Its methods do no I/O: they collect commands in the links.
type registry struct {
	names    *naming
	entries  map[string]*entry
	patterns map[broker.Channel]*entry // patterns by their filters' channels
	subs     map[*subscription]struct{}
	requests map[*request]struct{}
	denied   map[*entry]bool // in subscriptions, and refused by the server
	denial   error           // the last such refusal

	one      *link            // has all entries; nil in a cluster's sharded layout
	slots    *slots           // nil if there is one link
	links    map[string]*link // by address
	opened   func(*link)      // is called for each new one
	watch    func()           // is called for each new entry that shows the other layout; may be nil
	broke    bool             // subscriptions miss messages whose receivers may not know yet
	rejoined bool             // an entry has become live since the last call of split
}

func newRegistry(names *naming) *registry {
	return &registry{
		names: names, entries: map[string]*entry{}, patterns: map[broker.Channel]*entry{}, links: map[string]*link{},
		subs: map[*subscription]struct{}{}, requests: map[*request]struct{}{}, denied: map[*entry]bool{},
	}
}

// down reports whether any subscription is interrupted.
func (g *registry) down() bool {
	for s := range g.subs {
		if s.down {
			return true
		}
	}
	return false
}

// active counts the filters of all subscriptions. A filter counts once for each subscription.
func (g *registry) active() int {
	n := 0
	for s := range g.subs {
		n += len(s.filters)
	}
	return n
}

// request begins a request for those filters that sub does not have yet.
func (g *registry) request(sub *subscription, filters []broker.Filter) *request {
	r := &request{sub: sub, done: make(chan error, 1)}
	seen := make(map[broker.Filter]bool, len(filters))
	for _, f := range filters {
		if seen[f] || sub.filters[f] != nil {
			continue
		}
		seen[f] = true
		e := g.entry(f)
		e.requests = append(e.requests, r)
		r.entries = append(r.entries, e)
	}
	if g.slots != nil {
		bySlot(r.entries)
	}
	for _, e := range r.entries {
		if e.phase != live {
			r.pending++
		}
		if e.phase == off && e.link != nil && e.link.online {
			e.link.send(e, joining)
		}
	}
	g.requests[r] = struct{}{}
	g.tryGrant(r)
	return r
}

func (g *registry) entry(f broker.Filter) *entry {
	name, pattern := g.names.subscription(f)
	e := g.entries[name]
	if e == nil {
		e = &entry{name: name, pattern: pattern, filter: f.Clone()} // f's names may be parts of a large string
		g.entries[name] = e
		if e.other = g.names.other(e); e.other != "" && g.watch != nil {
			g.watch()
		}
		g.place(e)
		if pattern {
			g.patterns[e.filter.Channel()] = e
		}
	}
	return e
}

// tryGrant ends a request with success if all of its entries are live. While its subscription is
// interrupted the request waits, unless only some of its filters are: then the entries whose master
// cannot be reached become a part of the interruption.
func (g *registry) tryGrant(r *request) {
	if r.pending > 0 && !g.joinsGap(r) || r.sub.down && !r.sub.partial() {
		return
	}
	g.end(r, nil)
	g.subs[r.sub] = struct{}{}
	for _, e := range r.entries {
		if r.sub.filters[e.filter] != nil { // another request may have added it meanwhile
			continue
		}
		r.sub.filters[e.filter] = e
		e.subs = append(e.subs, r.sub)
		if e.phase != live {
			g.broke = true
			r.sub.lose(e, e.unreachable())
		}
	}
}

// end removes a request and returns err from it.
func (g *registry) end(r *request, err error) {
	delete(g.requests, r)
	for _, e := range r.entries {
		e.requests = without(e.requests, r)
	}
	r.done <- err
}

// fail ends a request with an error, and releases the entries that only this request needed.
func (g *registry) fail(r *request, err error) {
	if _, ok := g.requests[r]; !ok {
		return
	}
	g.end(r, err)
	for _, e := range r.entries {
		g.release(e)
	}
}

// remove removes a filter from a subscription. It returns a channel that is closed when the
// server has confirmed it, or nil if the server need not do so.
func (g *registry) remove(sub *subscription, f broker.Filter) <-chan struct{} {
	e := sub.filters[f]
	if e == nil {
		return nil
	}
	delete(sub.filters, f)
	e.subs = without(e.subs, sub)
	if sub.down {
		delete(sub.broken, e)
		if e.phase != live {
			sub.missing--
		}
		g.tryResume(sub)
	}
	if e.wanted() {
		return nil
	}
	g.release(e)
	if g.entries[e.name] != e {
		return nil
	}
	released := make(chan struct{})
	e.released = append(e.released, released)
	return released
}

// release unsubscribes from an entry that is not wanted any more. An entry that is joining is
// released after its confirmation.
func (g *registry) release(e *entry) {
	if e.wanted() {
		return
	}
	switch e.phase {
	case off:
		g.forget(e)
	case live:
		e.link.send(e, leaving)
	}
}

func (g *registry) forget(e *entry) {
	delete(g.entries, e.name)
	delete(g.denied, e)
	if e.link != nil {
		e.link.size--
		delete(e.link.alone, e)
	}
	if e.pattern {
		delete(g.patterns, e.filter.Channel())
	}
	e.signalReleased()
}

// signalReleased wakes the calls that wait until the server has unsubscribed from the entry.
func (e *entry) signalReleased() {
	for _, released := range e.released {
		close(released)
	}
	e.released = nil
}

// joined records that the server has confirmed an entry.
func (g *registry) joined(e *entry) {
	e.phase, e.hops, g.rejoined = live, 0, true
	delete(e.link.alone, e)
	if g.denied[e] {
		delete(g.denied, e)
		g.retryDenied(true)
	}
	for _, s := range e.subs {
		s.missing--
		g.tryResume(s)
	}
	for i := len(e.requests) - 1; i >= 0; i-- { // backwards, because tryGrant removes requests
		r := e.requests[i]
		r.pending--
		g.tryGrant(r)
	}
	g.release(e)
}

// tryResume ends a subscription's interruption if all of its filters are live again.
func (g *registry) tryResume(s *subscription) {
	if !s.down || s.missing > 0 {
		return
	}
	s.report(nil)
	s.down, s.broken = false, nil
	s.in.Resume()
	for r := range g.requests {
		if r.sub == s {
			g.tryGrant(r)
		}
	}
}

// retryDenied requests some of the refused names again, or all of them if the server has just
// allowed one. It reports whether any name is refused.
func (g *registry) retryDenied(all bool) bool {
	n := 0
	for e := range g.denied {
		if e.phase != off || e.link == nil || !e.link.online {
			continue // underway, or without a connection
		}
		if n++; n > deniedAtOnce && !all {
			break
		}
		e.link.alone[e] = !all
		e.link.send(e, joining)
	}
	return len(g.denied) > 0
}

// report reports to receivers those interruptions that have not been reported yet.
func (g *registry) report(err error) {
	for s := range g.subs {
		s.report(err)
	}
}

// without removes x from list. It does not keep the order.
func without[T comparable](list []T, x T) []T {
	for i, y := range list {
		if y == x {
			last := len(list) - 1
			list[i] = list[last]
			var zero T
			list[last] = zero
			return list[:last]
		}
	}
	return list
}
