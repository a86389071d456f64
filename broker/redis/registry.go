package redisbroker

import (
	"fmt"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/queue"
)

// phase is what the server knows of an entry, over the present connection.
type phase uint8

const (
	off     phase = iota // nothing
	joining              // subscribing: to be sent, or sent and not yet confirmed
	live                 // confirmed
	leaving              // unsubscribing: likewise
)

// entry is one name or pattern that somebody here wants, or wanted, to hear. All
// subscriptions share it, and one subscription on the server.
type entry struct {
	name    string
	pattern bool
	filter  broker.Filter
	phase   phase
	subs    []*subscription // that have the filter
	asking  []*request      // that want it
	gone    []chan struct{} // closed when the server has let go of it
}

// wanted reports whether the server should have it.
func (e *entry) wanted() bool { return len(e.subs)+len(e.asking) > 0 }

// sends reports whether the server sends messages of the entry that count. Those that it
// sends while the entry is joining belong to a subscription that it has kept.
func (e *entry) sends() bool { return e.phase == live || e.phase == leaving }

// request is a Subscribe or Add in progress: all of its filters become active at
// once, when the last of them is live, or none.
type request struct {
	sub     *subscription
	entries []*entry
	left    int        // entries that are not live
	done    chan error // capacity 1
}

// order is one SUBSCRIBE, PSUBSCRIBE, UNSUBSCRIBE or PUNSUBSCRIBE, or a command of an
// examination.
type order struct {
	command string
	exam    bool
	entries []*entry
	next    int // the entry whose confirmation comes next
}

const (
	// orderEntries and orderBytes bound one command.
	orderEntries = 1000
	orderBytes   = 32 << 10
	// ordersUnderway bounds the commands without an answer, so that the confirmations
	// of many names do not count as a subscriber that does not keep up.
	ordersUnderway = 4
	// deniedAtOnce bounds the names, of those that the server has denied, that it is asked
	// for again at a time.
	deniedAtOnce = 100
)

// registry is who wants to hear what, and how far the server has been told. The
// subscriber's mutex guards it. Its methods do no I/O: commands gather in todo.
type registry struct {
	names    *naming
	online   bool // there is a connection
	entries  map[string]*entry
	patterns map[broker.Channel]*entry // patterns by their filters' channels
	subs     map[*subscription]struct{}
	asking   map[*request]struct{}
	todo     queue.FIFO[*entry] // whose phase says what is to be sent
	alone    map[*entry]bool
	sent     queue.FIFO[*order]
	denied   map[*entry]bool // that are in subscriptions, and that the server has refused
	denial   error           // the last refusal of one
	kept     error           // the first refusal to unsubscribe over the present connection
}

func newRegistry(names *naming) *registry {
	return &registry{
		names: names, entries: map[string]*entry{}, patterns: map[broker.Channel]*entry{},
		subs: map[*subscription]struct{}{}, asking: map[*request]struct{}{}, alone: map[*entry]bool{}, denied: map[*entry]bool{},
	}
}

// needed reports whether a connection is of use.
func (g *registry) needed() bool { return len(g.entries) > 0 }

// down reports whether a subscription has been told of an interruption, and not yet of
// its end.
func (g *registry) down() bool {
	for s := range g.subs {
		if s.down {
			return true
		}
	}
	return false
}

// active counts filters, each in every subscription.
func (g *registry) active() int {
	n := 0
	for s := range g.subs {
		n += len(s.filters)
	}
	return n
}

// ask begins a request for the filters that sub does not have yet.
func (g *registry) ask(sub *subscription, filters []broker.Filter) *request {
	r := &request{sub: sub, done: make(chan error, 1)}
	seen := make(map[broker.Filter]bool, len(filters))
	for _, f := range filters {
		if seen[f] || sub.filters[f] != nil {
			continue
		}
		seen[f] = true
		e := g.entry(f)
		e.asking = append(e.asking, r)
		r.entries = append(r.entries, e)
		if e.phase != live {
			r.left++
		}
		if e.phase == off && g.online {
			g.send(e, joining)
		}
	}
	g.asking[r] = struct{}{}
	g.tryGrant(r)
	return r
}

func (g *registry) entry(f broker.Filter) *entry {
	name, pattern := g.names.subscription(f)
	e := g.entries[name]
	if e == nil {
		e = &entry{name: name, pattern: pattern, filter: f.Clone()} // the caller's names may be parts of something large
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

// tryGrant ends a request with success if all it wants is live. A subscription that
// has been told of an interruption waits for its end first.
func (g *registry) tryGrant(r *request) {
	if r.left > 0 || r.sub.down {
		return
	}
	g.end(r, nil)
	g.subs[r.sub] = struct{}{}
	for _, e := range r.entries {
		if r.sub.filters[e.filter] == nil { // another request may have been faster
			r.sub.filters[e.filter] = e
			e.subs = append(e.subs, r.sub)
		}
	}
}

// end takes a request off the books.
func (g *registry) end(r *request, err error) {
	delete(g.asking, r)
	for _, e := range r.entries {
		e.asking = without(e.asking, r)
	}
	r.done <- err
}

// fail ends a request with an error, and what only it wanted with it.
func (g *registry) fail(r *request, err error) {
	if _, ok := g.asking[r]; !ok {
		return
	}
	g.end(r, err)
	for _, e := range r.entries {
		g.release(e)
	}
}

// remove takes a filter from a subscription. It returns a channel that is closed
// when the server has let go of it, nil if it does not have to.
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
	gone := make(chan struct{})
	e.gone = append(e.gone, gone)
	return gone
}

// release unsubscribes from an entry that nobody wants any more. One that is being
// subscribed is looked at again when that is confirmed.
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
	e.left()
}

// left tells those who wait that the server has let go of the entry.
func (e *entry) left() {
	for _, gone := range e.gone {
		close(gone)
	}
	e.gone = nil
}

// connected begins anew on a fresh connection.
func (g *registry) connected() {
	g.online = true
	for _, e := range g.entries {
		g.send(e, joining)
	}
}

// disconnected notes that the server knows nothing any more. It calls interrupted
// for each subscription that has something to miss and does not know yet.
func (g *registry) disconnected(interrupted func(*subscription)) {
	g.online = false
	g.todo, g.sent, g.kept = queue.FIFO[*entry]{}, queue.FIFO[*order]{}, nil
	clear(g.alone)
	clear(g.denied)
	for _, e := range g.entries {
		e.phase = off
		e.left()
		if !e.wanted() {
			g.forget(e)
		}
	}
	for r := range g.asking {
		r.left = len(r.entries)
	}
	for s := range g.subs {
		s.missing = len(s.filters)
		if s.missing > 0 && !s.down {
			s.down = true
			interrupted(s)
		}
	}
}

// nextOrder returns the next command to send, nil if there is none or enough are
// underway.
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

// confirmed takes the server's confirmation of one name.
func (g *registry) confirmed(joined bool, name []byte) error {
	if g.sent.Len() == 0 {
		return protocolError(fmt.Sprintf("confirmation of %.40q that nobody asked for", name))
	}
	o := *g.sent.Front()
	if o.next >= len(o.entries) || o.entries[o.next].name != string(name) || joined != (o.entries[o.next].phase == joining) {
		return protocolError(fmt.Sprintf("confirmation of %.40q instead of an answer to %s", name, o.command))
	}
	e := o.entries[o.next]
	if o.next++; o.next == len(o.entries) {
		g.sent.Pop()
	}
	if !joined {
		e.phase = off
		e.left()
		if e.wanted() { // again, meanwhile
			g.send(e, joining)
		} else {
			g.forget(e)
		}
		return nil
	}
	g.joined(e)
	return nil
}

// joined notes that the server has an entry.
func (g *registry) joined(e *entry) {
	e.phase = live
	delete(g.alone, e)
	if g.denied[e] {
		delete(g.denied, e)
		g.askAgain(true)
	}
	for _, s := range e.subs {
		s.missing--
		g.tryResume(s)
	}
	for i := len(e.asking) - 1; i >= 0; i-- { // backwards: tryGrant takes out
		r := e.asking[i]
		r.left--
		g.tryGrant(r)
	}
	g.release(e)
}

// tryResume ends a subscription's interruption if all it has is live again.
func (g *registry) tryResume(s *subscription) {
	if !s.down || s.missing > 0 {
		return
	}
	s.down = false
	s.report(nil)
	s.in.Resume()
	for r := range g.asking {
		if r.sub == s {
			g.tryGrant(r)
		}
	}
}

// refused takes the server's refusal of a whole command. It returns an error if the
// connection is of no use without it.
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
		// One name is enough for a refusal of all: ask for each by itself.
		for _, e := range o.entries {
			g.alone[e] = true
			g.send(e, joining)
		}
		return nil
	}
	e := o.entries[0]
	e.phase = off
	for len(e.asking) > 0 {
		g.fail(e.asking[0], fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), refusal))
	}
	if len(e.subs) > 0 {
		// It was allowed once, and may be again. Until then those that have it miss
		// something, which only they have to know.
		g.denied[e] = true
		g.denial = fmt.Errorf("subscribe to %.300s: %w", e.filter.String(), refusal)
		for _, s := range e.subs {
			s.report(g.denial)
		}
	}
	g.release(e)
	return nil
}

// keeps takes the server's refusal to unsubscribe. The server goes on sending messages of
// these entries, which find no subscription here.
func (g *registry) keeps(o *order, refusal error) {
	if g.kept == nil {
		g.kept = refusal
	}
	for _, e := range o.entries {
		if e.wanted() { // again, meanwhile
			e.left()
			g.joined(e)
		} else {
			g.forget(e)
		}
	}
}

// askAgain asks once more for some of what the server has denied, or for all if it
// has just allowed some. It reports whether anything is denied.
func (g *registry) askAgain(all bool) bool {
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

// report reports the interruptions that are not reported yet.
func (g *registry) report(err error) {
	for s := range g.subs {
		s.report(err)
	}
}

// examining reports whether the next answer is one to an examination.
func (g *registry) examining() bool { return g.sent.Len() > 0 && (*g.sent.Front()).exam }

// examined takes the answer to a command of an examination that is next to come.
func (g *registry) examined() error {
	if !g.examining() {
		return protocolError("an answer that nobody asked for")
	}
	g.sent.Pop()
	return nil
}

// without removes x from list, in no order.
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
