package redisbroker

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker/internal/queue"
)

// link is one connection for subscribing, with the entries that belong to its server and the state
// of each on the server. The subscriber's mutex guards it.
type link struct {
	addr   string // of the master; empty if there is one link
	server server
	work   chan struct{} // wakes the goroutine that writes
	size   int           // entries

	online  bool
	failure error // of the last connection or attempt; nil while online or before the first
	held    bool  // its entries may not move yet
	todo    queue.FIFO[*entry]
	alone   map[*entry]bool // to be sent in commands of their own
	sent    queue.FIFO[*order]
	entries int   // in sent
	bytes   int   // of their names
	kept    error // the first refusal to unsubscribe over the present connection

	// routes is a cache. Each call of subscriber.changed empties it. Only the reader uses it.
	routes atomic.Pointer[routes]
}

func newLink(addr string, s server) *link {
	l := &link{addr: addr, server: s, work: make(chan struct{}, 1), alone: map[*entry]bool{}}
	l.routes.Store(&routes{})
	return l
}

// all returns the links.
func (g *registry) all() iter.Seq[*link] {
	if g.one != nil {
		return func(yield func(*link) bool) { yield(g.one) }
	}
	return maps.Values(g.links)
}

func (l *link) send(e *entry, p phase) {
	e.phase = p
	l.todo.Push(e)
}

// order is one command that subscribes to names or unsubscribes from them, or one command of an
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
	// ordersUnderway limits the names without a reply, in multiples of these. Otherwise the server
	// could take the many confirmations for a subscriber that reads too slowly.
	ordersUnderway = 4
	// deniedAtOnce limits how many of the refused names are requested again at a time.
	deniedAtOnce = 100
)

// connected starts over on a new connection, where no entry is subscribed.
func (g *registry) connected(l *link) {
	l.online, l.failure = true, nil
	list := make([]*entry, 0, l.size)
	for _, e := range g.entries {
		if e.link == l {
			list = append(list, e)
		}
	}
	if g.slots != nil {
		bySlot(list)
	}
	for _, e := range list {
		l.send(e, joining)
	}
}

// disconnected records that the connection was lost. It interrupts each subscription that has
// filters there, because of cause.
func (g *registry) disconnected(l *link, cause error) {
	l.online, l.failure = false, cause
	l.todo, l.sent, l.entries, l.bytes, l.kept = queue.FIFO[*entry]{}, queue.FIFO[*order]{}, 0, 0, nil
	clear(l.alone)
	for _, e := range g.entries {
		if e.link != l {
			continue
		}
		delete(g.denied, e)
		g.lost(e, cause)
		e.signalReleased()
		if !e.wanted() {
			g.forget(e)
		}
	}
}

// retries reports whether a link without a connection has entries that are to become live again. If
// not, the requests that wait for it fail because of cause.
func (g *registry) retries(l *link, cause error) bool {
	if g.slots == nil && g.down() {
		return true
	}
	for r := range g.requests {
		g.tryGrant(r)
	}
	for _, e := range g.entries {
		if e.link == l && len(e.subs) > 0 {
			return true
		}
	}
	for r := range g.requests {
		if g.slots == nil || slices.ContainsFunc(r.entries, func(e *entry) bool { return e.link == l && e.phase != live }) {
			g.fail(r, cause)
		}
	}
	return false
}

// lost records that the server does not send an entry's messages any more.
func (g *registry) lost(e *entry, cause error) {
	if e.phase == live {
		for _, u := range e.subs {
			g.broke = true
			u.lose(e, cause)
		}
		for _, r := range e.requests {
			r.pending++
		}
	}
	e.phase = off
}

// nextOrder returns the next command to send. It returns nil if there is none, or if too many
// names have no reply yet. A command to a node of a cluster has names of one slot.
func (g *registry) nextOrder(l *link) *order {
	if l.entries > (ordersUnderway-1)*orderEntries || l.bytes > (ordersUnderway-1)*orderBytes {
		return nil
	}
	var o *order
	size := 0
	for l.todo.Len() > 0 {
		e := *l.todo.Front()
		if e.link != l { // it was moved to another link
			l.todo.Pop()
			continue
		}
		if e.phase == joining && !e.wanted() {
			l.todo.Pop()
			e.phase = off
			g.forget(e)
			continue
		}
		command := g.commandFor(e)
		if o != nil && (o.command != command || len(o.entries) == orderEntries || size+len(e.name) > orderBytes ||
			e.slot != o.entries[0].slot || l.alone[e] || l.alone[o.entries[0]]) {
			break
		}
		if o == nil {
			o = &order{command: command}
		}
		o.entries = append(o.entries, e)
		size += len(e.name)
		l.todo.Pop()
	}
	if o != nil {
		l.sent.Push(o)
		l.entries += len(o.entries)
		l.bytes += size
	}
	return o
}

func (g *registry) commandFor(e *entry) string {
	command := "SUBSCRIBE"
	if e.phase != joining {
		command = "UNSUBSCRIBE"
	}
	switch {
	case g.names.sharded:
		return "S" + command
	case e.pattern:
		return "P" + command
	}
	return command
}

// replied records the server's reply to the next entry of an order.
func (l *link) replied(o *order) *entry {
	e := o.entries[o.next]
	l.entries--
	l.bytes -= len(e.name)
	if o.next++; o.next == len(o.entries) {
		l.sent.Pop()
	}
	return e
}

// confirmed handles the server's confirmation of one name.
func (g *registry) confirmed(l *link, subscribed bool, name []byte) error {
	var o *order
	if l.sent.Len() > 0 {
		o = *l.sent.Front()
	}
	if o == nil || o.next >= len(o.entries) || o.entries[o.next].name != string(name) || subscribed != (o.entries[o.next].phase == joining) {
		switch {
		case !subscribed && g.slots != nil:
			g.withdrawn(l, name)
			return nil
		case o == nil:
			return protocolError(fmt.Sprintf("confirmation of %.40q without a command", name))
		}
		return protocolError(fmt.Sprintf("confirmation of %.40q instead of a reply to %s", name, o.command))
	}
	e := l.replied(o)
	if subscribed {
		g.joined(e)
	} else {
		g.left(l, e)
	}
	return nil
}

// left records that the server has unsubscribed from an entry.
func (g *registry) left(l *link, e *entry) {
	e.phase = off
	e.signalReleased()
	if e.wanted() { // a subscription has added it again meanwhile
		l.send(e, joining)
	} else {
		g.forget(e)
	}
}

// refused handles the server's refusal of a whole command. It returns an error if the connection
// cannot be used after that.
func (g *registry) refused(l *link, reply string) error {
	if l.sent.Len() == 0 {
		return &ServerError{Command: "connection", Reply: reply}
	}
	o := *l.sent.Front()
	refusal := &ServerError{Command: o.command, Reply: reply}
	if o.next > 0 {
		return refusal
	}
	for range o.entries {
		l.replied(o)
	}
	if o.entries[0].phase == leaving {
		g.keeps(l, o, refusal)
		return nil
	}
	if len(o.entries) > 1 {
		// One refused name suffices to refuse the command: request each name in its own command.
		for _, e := range o.entries {
			l.alone[e] = true
			l.send(e, joining)
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
func (g *registry) keeps(l *link, o *order, refusal error) {
	if l.kept == nil {
		l.kept = refusal
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

// examining reports whether the next reply belongs to an examination.
func (l *link) examining() bool { return l.sent.Len() > 0 && (*l.sent.Front()).exam }

// examined handles the reply to the next command of an examination.
func (l *link) examined() error {
	if !l.examining() {
		return protocolError("a reply without a command")
	}
	l.sent.Pop()
	return nil
}
