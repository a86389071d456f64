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

// Snapshot is the set of subscribers of a namespace's requests at one moment, without this node. It has every known
// peer by name, counted by name where the broker can count. Any other subscriber is a foreign peer, or a node that has
// not introduced itself.
type Snapshot struct {
	nodes   map[string]node
	Foreign wire.Unannounced
	// Before is the number of foreign peers at the last count, if the broker could not count now. Err is the cause.
	Before int
	Err    error
	// Inexact is a *broker.InexactError: more may be subscribed than were counted.
	Inexact error
	// Unsettled: unknown nodes exist, or may exist.
	Unsettled bool
}

// In lists the nodes in one of some states, sorted.
func (s *Snapshot) In(states ...State) (ids []string) {
	for id, n := range s.nodes {
		if slices.Contains(states, n.state) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Expected returns how many nodes are subscribed and have not left.
func (s *Snapshot) Expected() (n int) {
	for _, peer := range s.nodes {
		if peer.state.listens() {
			n++
		}
	}
	return n
}

// Peers returns how many peers the broker counts.
func (s *Snapshot) Peers() int {
	n := s.Foreign.Total
	for _, peer := range s.nodes {
		if peer.state.listens() || peer.state == Departed {
			n++
		}
	}
	return n
}

// Only returns a snapshot of one node, for a request to it alone.
func Only(id string) *Snapshot {
	s := new(Snapshot)
	s.set(id, node{state: Waiting})
	return s
}

// Add adds a node to the subscribers.
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

// Refuse makes the request go to no node, for a reason.
func (s *Snapshot) Refuse(err error) {
	for id, n := range s.nodes {
		if n.state.listens() || n.state == Departed || n.state == Lost {
			s.nodes[id] = node{state: Unreachable}
		}
	}
	s.Before, s.Err, s.Foreign.Total = s.Before+s.Foreign.Total, err, 0
}

// Result returns the result of a request for which the broker could not count the subscribers.
func (s *Snapshot) Result() (r Result) {
	for _, id := range s.In(Unreachable) {
		r.Missing = append(r.Missing, Missing{Node: id, Count: 1, State: Unreachable, Err: s.Err})
	}
	if s.Before > 0 {
		r.Missing = append(r.Missing, Missing{Count: s.Before, State: Unreachable, Err: s.Err})
	}
	return r
}

// Known returns the knowledge without the broker, for a request that cannot be sent because of err.
func (t *Table) Known(err error) *Snapshot {
	s := &Snapshot{Before: int(t.foreign.number.Load()), Err: err}
	for _, p := range t.o.Members.Serving(t.key).Peers {
		if p.Standing == membership.Serves || p.Standing == membership.Suspect {
			s.set(p.ID, node{state: Unreachable})
		}
	}
	return s
}

// Snapshot queries the broker, if it can count: which of the known peers are subscribed, how many foreign peers are,
// and their properties.
//
// A request that may harm some of them is published right after a count. Nothing is cached, and if another foreign
// peer has appeared meanwhile, the count is repeated.
func (t *Table) Snapshot(ctx context.Context, op wire.Op) (*Snapshot, error) {
	careful := op == wire.OpBroadcast || op == wire.OpCustom
	for tries := 1; ; tries++ {
		s, err := t.Listeners(ctx)
		if err != nil || s.Foreign.Total == 0 || !t.caps.ListsResponders {
			return s, err
		}
		// Worth knowing, but no reason to fail: a server may forbid the query.
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

// Listeners is Snapshot without the properties of the foreign peers. A node that leaves is counted for a moment after
// its goodbye, and one that starts before its introduction has come. Then Listeners counts again, for at most the time
// of introductions.
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

// ForeignNow counts the current foreign peers.
func (t *Table) ForeignNow(ctx context.Context) (int, error) {
	s, _, err := t.count(ctx, false, nil)
	return s.Foreign.Total, err
}

// uncounted lists the known nodes where the broker cannot count, or not everywhere; those in counted are known to be
// subscribed. It waits for pending introductions.
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

// count counts once. also are ids to count besides those of the known peers. again: counting again is useful, if this
// is not the last time anyway.
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

// headcount is the broker's count.
type headcount struct {
	peers     []membership.PeerView // the counted ones
	listens   map[string]bool       // which of them are subscribed
	foreign   int                   // how many more are subscribed
	control   bool                  // the control channels were counted as well:
	strangers int                   // how many unknown nodes are subscribed to them
}

// listening queries the broker for the subscribers of the namespace's requests. The numbers need not be of one moment:
// a node that leaves in between is counted with all, and not by name, like a foreign peer. So if there seem to be
// some, it counts again until no more nodes are absent than before. Where foreign peers are possible, the control
// channels distinguish them from nodes that have not introduced themselves.
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
