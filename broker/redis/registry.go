package redisbroker

import (
	"fmt"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

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

// order is one SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE or PUNSUBSCRIBE command, or one command of an
// examination.
type order struct {
	command string
	exam    bool
	entries []*entry
	next    int // the entry whose confirmation comes next
}

const (
	// orderEntries and orderBytes limit one command.
	orderEntries = 1000
	orderBytes   = 32 << 10
	// ordersUnderway limits the commands without a reply. Otherwise the server could take the
	// many confirmations for a subscriber that reads too slowly.
	ordersUnderway = 4
	// deniedAtOnce limits how many of the refused names are requested again at a time.
	deniedAtOnce = 100
)

// registry holds the entries, the subscriptions and the requests, and the state of each entry
// on the server. The subscriber's mutex guards it. Its methods do no I/O: they collect commands
// in todo.
type registry struct {
	names    *naming
	online   bool // there is a connection
	entries  map[string]*entry
	patterns map[broker.Channel]*entry // patterns by their filters' channels
	subs     map[*subscription]struct{}
	requests map[*request]struct{}
	todo     queue.FIFO[*entry] // to be sent, according to their phase
	alone    map[*entry]bool    // to be sent in commands of their own
	sent     queue.FIFO[*order]
	denied   map[*entry]bool // in subscriptions, and refused by the server
	denial   error           // the last such refusal
	kept     error           // the first refusal to unsubscribe over the present connection
}

func newRegistry(names *naming) *registry {
	return &registry{
		names: names, entries: map[string]*entry{}, patterns: map[broker.Channel]*entry{},
		subs: map[*subscription]struct{}{}, requests: map[*request]struct{}{}, alone: map[*entry]bool{}, denied: map[*entry]bool{},
	}
}

// needed reports whether a connection is needed.
func (g *registry) needed() bool { return len(g.entries) > 0 }

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
		if e.phase != live {
			r.pending++
		}
		if e.phase == off && g.online {
			g.send(e, joining)
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
		if pattern {
			g.patterns[e.filter.Channel()] = e
		}
	}
	return e
}

func (g *registry) send(e *entry, p phase) {
	e.phase = p
	g.todo.Push(e)
}

// tryGrant ends a request with success if all of its entries are live. While its subscription is
// interrupted the request waits.
func (g *registry) tryGrant(r *request) {
	if r.pending > 0 || r.sub.down {
		return
	}
	g.end(r, nil)
	g.subs[r.sub] = struct{}{}
	for _, e := range r.entries {
		if r.sub.filters[e.filter] == nil { // another request may have added it meanwhile
			r.sub.filters[e.filter] = e
			e.subs = append(e.subs, r.sub)
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
	if sub.down && e.phase != live {
		sub.missing--
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
		g.send(e, leaving)
	}
}

func (g *registry) forget(e *entry) {
	delete(g.entries, e.name)
	delete(g.alone, e)
	delete(g.denied, e)
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

// connected starts over on a new connection, where no entry is subscribed.
func (g *registry) connected() {
	g.online = true
	for _, e := range g.entries {
		g.send(e, joining)
	}
}

// disconnected records that the connection was lost. It calls interrupted for each subscription
// that has filters and is not interrupted yet.
func (g *registry) disconnected(interrupted func(*subscription)) {
	g.online = false
	g.todo, g.sent, g.kept = queue.FIFO[*entry]{}, queue.FIFO[*order]{}, nil
	clear(g.alone)
	clear(g.denied)
	for _, e := range g.entries {
		e.phase = off
		e.signalReleased()
		if !e.wanted() {
			g.forget(e)
		}
	}
	for r := range g.requests {
		r.pending = len(r.entries)
	}
	for s := range g.subs {
		s.missing = len(s.filters)
		if s.missing > 0 && !s.down {
			s.down = true
			interrupted(s)
		}
	}
}

// nextOrder returns the next command to send. It returns nil if there is none, or if
// ordersUnderway commands have no reply yet.
func (g *registry) nextOrder() *order {
	if g.sent.Len() >= ordersUnderway {
		return nil
	}
	var o *order
	size := 0
	for g.todo.Len() > 0 {
		e := *g.todo.Front()
		if e.phase == joining && !e.wanted() {
			g.todo.Pop()
			e.phase = off
			g.forget(e)
			continue
		}
		command := commandFor(e)
		if o != nil && (o.command != command || len(o.entries) == orderEntries || size+len(e.name) > orderBytes || g.alone[e] || g.alone[o.entries[0]]) {
			break
		}
		if o == nil {
			o = &order{command: command}
		}
		o.entries = append(o.entries, e)
		size += len(e.name)
		g.todo.Pop()
	}
	if o != nil {
		g.sent.Push(o)
	}
	return o
}

func commandFor(e *entry) string {
	switch {
	case e.phase == joining && e.pattern:
		return "PSUBSCRIBE"
	case e.phase == joining:
		return "SUBSCRIBE"
	case e.pattern:
		return "PUNSUBSCRIBE"
	}
	return "UNSUBSCRIBE"
}

// confirmed handles the server's confirmation of one name.
func (g *registry) confirmed(joined bool, name []byte) error {
	if g.sent.Len() == 0 {
		return protocolError(fmt.Sprintf("confirmation of %.40q without a command", name))
	}
	o := *g.sent.Front()
	if o.next >= len(o.entries) || o.entries[o.next].name != string(name) || joined != (o.entries[o.next].phase == joining) {
		return protocolError(fmt.Sprintf("confirmation of %.40q instead of a reply to %s", name, o.command))
	}
	e := o.entries[o.next]
	if o.next++; o.next == len(o.entries) {
		g.sent.Pop()
	}
	if !joined {
		e.phase = off
		e.signalReleased()
		if e.wanted() { // a subscription has added it again meanwhile
			g.send(e, joining)
		} else {
			g.forget(e)
		}
		return nil
	}
	g.joined(e)
	return nil
}

// joined records that the server has confirmed an entry.
func (g *registry) joined(e *entry) {
	e.phase = live
	delete(g.alone, e)
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
	s.down = false
	s.report(nil)
	s.in.Resume()
	for r := range g.requests {
		if r.sub == s {
			g.tryGrant(r)
		}
	}
}

// refused handles the server's refusal of a whole command. It returns an error if the connection
// cannot be used after that.
func (g *registry) refused(reply string) error {
	if g.sent.Len() == 0 {
		return &ServerError{Command: "connection", Reply: reply}
	}
	o := g.sent.Pop()
	refusal := &ServerError{Command: o.command, Reply: reply}
	if o.next > 0 {
		return refusal
	}
	if o.entries[0].phase == leaving {
		g.keeps(o, refusal)
		return nil
	}
	if len(o.entries) > 1 {
		// One refused name suffices to refuse the command: request each name in its own command.
		for _, e := range o.entries {
			g.alone[e] = true
			g.send(e, joining)
		}
		return nil
	}
	e := o.entries[0]
	e.phase = off
	for len(e.requests) > 0 {
		g.fail(e.requests[0], fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), refusal))
	}
	if len(e.subs) > 0 {
		// The server allowed the name before, and may allow it again. Until then only the
		// subscriptions with this filter are interrupted.
		g.denied[e] = true
		g.denial = fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), refusal)
		for _, s := range e.subs {
			s.report(g.denial)
		}
	}
	g.release(e)
	return nil
}

// keeps handles the server's refusal to unsubscribe. The server continues to send messages of
// these entries. They are dropped, because no subscription has the filters.
func (g *registry) keeps(o *order, refusal error) {
	if g.kept == nil {
		g.kept = refusal
	}
	for _, e := range o.entries {
		if e.wanted() { // a subscription has added it again meanwhile
			e.signalReleased()
			g.joined(e)
		} else {
			g.forget(e)
		}
	}
}

// retryDenied requests some of the refused names again, or all of them if the server has just
// allowed one. It reports whether any name is refused.
func (g *registry) retryDenied(all bool) bool {
	n := 0
	for e := range g.denied {
		if e.phase != off {
			continue // underway
		}
		if n++; n > deniedAtOnce && !all {
			break
		}
		g.alone[e] = !all
		g.send(e, joining)
	}
	return len(g.denied) > 0
}

// report reports to receivers those interruptions that have not been reported yet.
func (g *registry) report(err error) {
	for s := range g.subs {
		s.report(err)
	}
}

// examining reports whether the next reply belongs to an examination.
func (g *registry) examining() bool { return g.sent.Len() > 0 && (*g.sent.Front()).exam }

// examined handles the reply to the next command of an examination.
func (g *registry) examined() error {
	if !g.examining() {
		return protocolError("a reply without a command")
	}
	g.sent.Pop()
	return nil
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
