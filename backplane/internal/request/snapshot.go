package request

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Snapshot is who listens to a namespace's requests at one moment, without this node.
// Every peer that is known is in it by name, and is counted by name where the broker can
// count: whoever listens besides is a foreign peer, or a node that has not introduced
// itself.
type Snapshot struct {
	nodes   map[string]node
	Foreign wire.Unannounced
	// Before is how many foreign peers there were when they were last counted, if the broker
	// could not count now. Err says why.
	Before int
	Err    error
	// Inexact is a *broker.InexactError: more may listen than were counted.
	Inexact error
	// Unsettled: there are nodes, or may be, that this one does not know.
	Unsettled bool
}

// In lists the nodes that are in one of some states, sorted.
func (s *Snapshot) In(states ...State) (ids []string) {
	for id, n := range s.nodes {
		if slices.Contains(states, n.state) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Expected is how many nodes listen that have not left.
func (s *Snapshot) Expected() (n int) {
	for _, peer := range s.nodes {
		if peer.state.listens() {
			n++
		}
	}
	return n
}

// Peers is how many peers the broker counts.
func (s *Snapshot) Peers() int {
	n := s.Foreign.Total
	for _, peer := range s.nodes {
		if peer.state.listens() || peer.state == Departed {
			n++
		}
	}
	return n
}

// Add adds a node to those that listen.
func (s *Snapshot) Add(id string) {
	if n := s.nodes[id]; !n.state.listens() {
		s.set(id, node{state: Waiting})
	}
}

func (s *Snapshot) set(id string, n node) {
	if s.nodes == nil {
		s.nodes = make(map[string]node)
	}
	s.nodes[id] = n
}

// Refuse has nobody asked, for a reason.
func (s *Snapshot) Refuse(err error) {
	for id, n := range s.nodes {
		if n.state.listens() || n.state == Departed || n.state == Lost {
			s.nodes[id] = node{state: Unreachable}
		}
	}
	s.Before, s.Err, s.Foreign.Total = s.Before+s.Foreign.Total, err, 0
}

// Result is that of a request for which the broker could not say who listens.
func (s *Snapshot) Result() (r Result) {
	for _, id := range s.In(Unreachable) {
		r.Missing = append(r.Missing, Missing{Node: id, Count: 1, State: Unreachable, Err: s.Err})
	}
	if s.Before > 0 {
		r.Missing = append(r.Missing, Missing{Count: s.Before, State: Unreachable, Err: s.Err})
	}
	return r
}

// Known returns what is known without asking the broker, for a request that cannot be sent
// for the reason err.
func (t *Table) Known(err error) *Snapshot {
	s := &Snapshot{Before: int(t.foreign.number.Load()), Err: err}
	for _, p := range t.o.Members.Serving(t.key).Peers {
		if p.Standing == membership.Serves || p.Standing == membership.Suspect {
			s.set(p.ID, node{state: Unreachable})
		}
	}
	return s
}

// Snapshot asks the broker, if it can count, which of the known peers listen, how many
// foreign peers do, and what can be said of those.
//
// A request that may harm some of them is published right after a count: nothing is
// remembered, and if another foreign peer has come while they were looked at, they are
// looked at again.
func (t *Table) Snapshot(ctx context.Context, op wire.Op) (*Snapshot, error) {
	careful := op == wire.OpBroadcast || op == wire.OpCustom
	for tries := 1; ; tries++ {
		s, err := t.Listeners(ctx)
		if err != nil || s.Foreign.Total == 0 || !t.caps.ListsResponders {
			return s, err
		}
		// Worth knowing, but no reason to fail: a server may forbid asking.
		if s.Foreign.Responding, err = t.respondingPeers(ctx, s, careful); err != nil && ctx.Err() != nil {
			s.Refuse(err)
			return s, err
		}
		if !careful {
			return s, nil
		}
		again, err := t.Listeners(ctx)
		again.Foreign.Responding = s.Foreign.Responding
		if err != nil || tries == 4 || again.Foreign.Total == s.Foreign.Total {
			return again, err
		}
	}
}

// Listeners is Snapshot without a closer look at the foreign peers. A node that leaves is
// counted for a moment after its goodbye, and one that starts before its introduction has
// come: then it looks again, for at most the time that introductions take.
func (t *Table) Listeners(ctx context.Context) (*Snapshot, error) {
	if !t.caps.CountsSubscribers {
		return t.uncounted(ctx, &Snapshot{Foreign: wire.Unannounced{Responding: -1}}, nil), nil
	}
	m := t.o.Members
	end := time.Now().Add(m.IntroTime())
	for pause := time.Millisecond; ; pause *= 2 {
		last := !time.Now().Before(end)
		s, again, err := t.count(ctx, last, nil)
		if err != nil || !again || last || ctx.Err() != nil || m.Closing() {
			return s, err
		}
		m.Pause(ctx, min(pause, time.Until(end)))
	}
}

// ForeignNow counts the foreign peers at this moment.
func (t *Table) ForeignNow(ctx context.Context) (int, error) {
	s, _, err := t.count(ctx, false, nil)
	return s.Foreign.Total, err
}

// uncounted lists the known nodes where the broker cannot count, or not everywhere: then
// those of counted are known to listen. It waits for introductions that are under way.
func (t *Table) uncounted(ctx context.Context, s *Snapshot, counted map[string]bool) *Snapshot {
	t.o.Members.Await(ctx)
	view := t.o.Members.Serving(t.key)
	s.Unsettled = view.Greeting
	for _, p := range view.Peers {
		n := node{state: Absent, until: p.Until}
		switch p.Standing {
		case membership.Serves:
			n.state = Waiting
		case membership.Suspect:
			n.state = Unresponsive
		case membership.Uncertain, membership.Elsewhere:
			if counted[p.ID] {
				n.state = Waiting
			} else if p.Standing == membership.Uncertain {
				n.state = NotIntroduced
			}
		case membership.Left, membership.Expired:
			if counted[p.ID] {
				n.state = Departed
			}
		}
		s.set(p.ID, n)
	}
	return s
}

// count counts once. also are ids to count besides those of the known peers. again: it is
// worth to look again, if this is not the last time anyway.
func (t *Table) count(ctx context.Context, last bool, also []string) (s *Snapshot, again bool, err error) {
	s = &Snapshot{Foreign: wire.Unannounced{Responding: -1}}
	c, err := t.listening(ctx, also)
	t.o.Members.Counted(err)
	if inexact, ok := errors.AsType[*broker.InexactError](err); ok {
		s.Inexact, err = inexact, nil
	}
	switch {
	case err != nil:
		return t.Known(err), false, err
	case c.listens == nil: // known peers, and as many others as before
		s.Foreign.Total = int(t.foreign.number.Load())
		return t.uncounted(ctx, s, nil), false, nil
	}
	s.Foreign.Total = c.foreign
	if s.Inexact != nil {
		// A node that was not counted may be where the broker did not look.
		return t.uncounted(ctx, s, c.listens), false, nil
	}
	var forgotten []string
	s.nodes = make(map[string]node, len(c.peers))
	for _, p := range c.peers {
		n := node{state: Absent, until: p.Until}
		switch listens := c.listens[p.ID]; {
		case !listens && p.Standing.Serving():
			n.state = Lost
		case !listens && p.Standing == membership.Expired:
			forgotten = append(forgotten, p.ID)
		case !listens: // Absent
		case p.Standing == membership.Suspect:
			n.state = Unresponsive
		case p.Standing == membership.Leaving && !last:
			again = true // Absent, in a moment
		case p.Standing == membership.Leaving, p.Standing == membership.Left, p.Standing == membership.Expired:
			n.state = Departed
		default:
			n.state = Waiting // perhaps it is not known yet that it serves the namespace
		}
		s.nodes[p.ID] = n
	}
	t.o.Members.Uncounted(t.key, forgotten)
	t.foreign.number.Store(int64(c.foreign))
	if c.control && c.foreign > 0 {
		s.Unsettled = c.strangers > 0
		again = t.o.Members.Strangers(c.strangers, last) || again
	}
	return s, again, nil
}

// headcount is what the broker counted.
type headcount struct {
	peers     []membership.PeerView // that were counted
	listens   map[string]bool       // which of them listen
	foreign   int                   // how many more do
	control   bool                  // the control channels were counted as well:
	strangers int                   // how many nodes are on them that are not known
}

// listening asks the broker who listens to the namespace's requests. The numbers need not be
// of one moment: a node that leaves in between is counted with all, and not by name, as if it
// were a foreign peer. So if there seem to be some, it asks again until no more nodes are
// absent than before. Where foreign peers are possible, the control channels tell them from
// nodes that have not introduced themselves.
func (t *Table) listening(ctx context.Context, also []string) (c headcount, err error) {
	possible := t.protocol != broker.Native
	c.control = possible && t.foreign.number.Load() > 0
	before := 0
	for tries := 0; tries < 4; tries++ {
		c.peers = t.o.Members.Serving(t.key).Peers
		ids := t.idsOf(c.peers, also)
		channels := make([]broker.Channel, 0, 2*len(ids)+2)
		channels = append(channels, t.protocol.Requests(t.o.Name))
		for _, id := range ids {
			channels = append(channels, t.protocol.NodeResponses(t.o.Name, id))
		}
		if c.control {
			channels = append(channels, broker.Control())
			for _, id := range ids {
				channels = append(channels, broker.NodeControl(id))
			}
		}
		counts, err := t.o.Broker.Subscribers(ctx, channels...)
		if err != nil && !inexact(err) {
			return c, err
		}
		if counts == nil {
			return c, err
		}
		n := 1 + len(ids)
		c.listens = make(map[string]bool, len(ids))
		c.foreign = max(others(counts[:n]), 0)
		if c.control {
			c.strangers = others(counts[n:])
		}
		for i, id := range ids {
			c.listens[id] = counts[1+i] > 0
		}
		absent := 0
		for _, p := range c.peers {
			if p.Standing > membership.Uncertain && !c.listens[p.ID] {
				absent++
			}
		}
		switch {
		case c.foreign == 0 || err != nil:
			return c, err
		case possible && !c.control:
			c.control = true
			continue
		case absent == before:
			return c, nil
		}
		before = absent
	}
	return c, nil
}

// idsOf lists the ids that are counted by name: this node's first.
func (t *Table) idsOf(peers []membership.PeerView, also []string) []string {
	ids := make([]string, 1, len(peers)+len(also)+1)
	ids[0] = t.o.Node
	for _, p := range peers {
		ids = append(ids, p.ID)
	}
	known := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		known[id] = struct{}{}
	}
	for _, id := range also { // each once
		if _, ok := known[id]; !ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// others returns how many of the first count are not counted by name in the rest.
func others(counts []int) int {
	n := counts[0]
	for _, c := range counts[1:] {
		n -= min(c, 1)
	}
	return n
}

func inexact(err error) bool {
	_, ok := errors.AsType[*broker.InexactError](err)
	return ok
}

// clone returns the nodes, which the caller may change.
func (s *Snapshot) clone() map[string]node {
	if s.nodes == nil {
		return make(map[string]node)
	}
	return maps.Clone(s.nodes)
}
