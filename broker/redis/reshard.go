package redisbroker

import (
	"fmt"
	"slices"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// What the registry does when slots of a cluster move. An entry belongs to the link of the master that serves its slot.
// The list of slots says where an entry begins. From then on the entry's server decides: it withdraws the entry, or
// refuses it with MOVED and names the new master. Only entries without a live subscription follow the list.

// maxHops is how many redirections an entry follows, one after another, before it waits for a new list of slots.
const maxHops = 5

func bySlot(list []*entry) {
	slices.SortStableFunc(list, func(a, b *entry) int { return int(a.slot) - int(b.slot) })
}

// place gives a new entry its link.
func (g *registry) place(e *entry) {
	if g.slots == nil {
		e.link = g.one
		e.link.size++
		return
	}
	e.slot = slotOf(e.name)
	if table, _ := g.slots.now(); table != nil {
		g.move(e, table.owner(e.slot))
	}
}

// move gives an entry that is off to the link of another master; to none if addr is empty.
func (g *registry) move(e *entry, addr string) {
	if e.link != nil {
		e.link.size--
		delete(e.link.alone, e)
		lifecycle.Raise(e.link.work) // it may have been the last one
	}
	delete(g.denied, e)
	e.link, e.phase = nil, off
	if addr == "" {
		return
	}
	l := g.links[addr]
	if l == nil {
		l = newLink(addr, &only{nodes: g.slots.nodes, slots: g.slots, addr: addr, use: forSubscribing})
		g.links[addr] = l
		g.opened(l)
	}
	e.link = l
	l.size++
}

// rejoin subscribes to a moved entry, if its link has a connection.
func (e *entry) rejoin() {
	if e.link != nil && e.link.online {
		e.link.send(e, joining)
		lifecycle.Raise(e.link.work)
	}
}

// moved handles a refusal because a slot has another master. A late one, of a command that the server has answered by
// withdrawing the entries, is ignored.
func (g *registry) moved(l *link, slot uint16, addr string) {
	g.slots.learn(slot, g.slots.nodes.hosted(addr, l.addr))
	if l.sent.Len() == 0 {
		return
	}
	o := *l.sent.Front()
	if o.exam || o.entries[0].slot != slot {
		return
	}
	for o.next < len(o.entries) {
		e := l.replied(o)
		if e.phase == leaving { // the server has unsubscribed already
			e.phase = off
			e.signalReleased()
		}
		if !e.wanted() {
			e.phase = off
			g.forget(e)
			continue
		}
		if e.hops++; e.hops > maxHops {
			addr = ""
		}
		g.move(e, addr)
		e.rejoin()
	}
}

// withdrawn handles an unsubscription that was not requested: the slot has left the server. The server is asked again,
// to learn the new master.
func (g *registry) withdrawn(l *link, name []byte) {
	e := g.entries[string(name)]
	if e == nil || e.link != l || e.phase != live {
		return // the reply to a command is still to come
	}
	g.lost(e, fmt.Errorf("redis cluster: slot %d has left %s", e.slot, l.addr))
	l.send(e, joining)
}

// reroute moves the entries that are off to the links that the list of slots says. It returns how many have no master.
func (g *registry) reroute() (homeless int) {
	table, err := g.slots.now()
	for _, e := range g.entries {
		if e.phase != off || g.denied[e] || e.link != nil && e.link.held {
			continue
		}
		addr := ""
		if table != nil {
			addr = table.owner(e.slot)
		}
		switch {
		case e.link != nil && e.link.addr == addr:
			continue
		case e.link != nil || addr != "":
			e.hops = 0
			g.move(e, addr)
			e.rejoin()
		}
		if e.link == nil {
			homeless++
		}
	}
	if homeless == 0 {
		return 0
	}
	for r := range g.requests {
		g.tryGrant(r)
	}
	for r := range g.requests {
		for _, e := range r.entries {
			if e.link != nil || len(e.subs) > 0 || r.sub.down {
				continue
			}
			if err == nil {
				err = e.unreachable()
			}
			g.fail(r, err)
			break
		}
	}
	return homeless
}

// homeless reports whether no master is known of an entry.
func (r *request) homeless() bool {
	return slices.ContainsFunc(r.entries, func(e *entry) bool { return e.link == nil })
}

// unreachable returns why an entry cannot become live soon; nil if it can.
func (e *entry) unreachable() error {
	if e.link == nil {
		return fmt.Errorf("redis cluster: slot %d: %w", e.slot, errNoMaster)
	}
	return e.link.failure
}

// joinsGap reports whether a request may end although some of its entries are not live: its subscription has others that
// are, and the masters of these cannot be reached.
func (g *registry) joinsGap(r *request) bool {
	if _, known := g.subs[r.sub]; g.slots == nil || !known || !r.sub.partial() {
		return false
	}
	for _, e := range r.entries {
		if e.phase != live && e.unreachable() == nil {
			return false
		}
	}
	return true
}

// lose records that a filter of the subscription misses messages, because of cause.
func (u *subscription) lose(e *entry, cause error) {
	if !u.down {
		u.down, u.broken, u.unreported = true, map[*entry]bool{}, cause
	}
	u.broken[e] = true
	u.missing++
}

// partial reports whether some of the filters are not interrupted.
func (u *subscription) partial() bool { return len(u.broken) < len(u.filters) }

// gap returns the error for an interruption because of cause.
func (u *subscription) gap(cause error) error {
	if !u.partial() {
		return cause
	}
	g := &broker.GapError{Err: cause}
	for e := range u.broken {
		g.Filters = append(g.Filters, e.filter)
	}
	return g
}

// split ends interruptions of which only such filters are left whose masters cannot be reached, and begins others for
// these: so the filters that are live again get their messages.
func (g *registry) split() {
	g.rejoined = false
	for u := range g.subs {
		if !u.down || u.missing == len(u.broken) {
			continue
		}
		var cause error
		for e := range u.broken {
			if e.phase == live {
				continue
			}
			if cause = e.unreachable(); cause == nil && !g.denied[e] {
				break
			}
			if cause == nil {
				cause = g.denial
			}
		}
		if cause == nil {
			continue
		}
		u.report(nil)
		u.in.Resume()
		for e := range u.broken {
			if e.phase == live {
				delete(u.broken, e)
			}
		}
		u.in.Interrupt(u.gap(cause))
	}
}
