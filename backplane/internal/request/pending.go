package request

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// Pending is a request in flight.
type Pending struct {
	t   *Table
	req *wire.Request
	// take adds a response to the result, with mu held. It returns true if no
	// other response matters any more. The response and its slices are not kept.
	take func(*wire.Response) (enough bool)
	// Run calls each with the node of each response, and sent when the request has been published.
	each []func(node string)
	sent func()

	mu      sync.Mutex
	nodes   map[string]node // as of the snapshot, and those that have responded since
	waiting int             // how many of nodes are Waiting
	acks    int             // pending acknowledgements of all nodes
	foreign foreignCount
	// unnamed are nodes that responded and are not in the snapshot; admits is how many more unknown nodes may respond.
	unnamed []string
	admits  int
	// nameless: responses without a name are possible.
	nameless bool
	got      int  // bytes of all responses
	begun    bool // Run has begun: the nodes to wait for are known
	ended    bool
	// strangers: nodes may have been counted without a name.
	strangers bool
	err       error // the cause of an early end
	done      chan struct{}
	stop      func()        // ends a running count; nil if none may run
	look      chan struct{} // it is time to count again
	untold    []string      // responses that each has not been called with
	news      chan struct{} // untold has become longer
}

// New makes a request that can receive responses. It does not end before Run.
func (t *Table) New(req *wire.Request, take func(*wire.Response) bool) *Pending {
	if req.ID == "" {
		req.ID = t.NewID()
	}
	return &Pending{
		t: t, req: req, take: take, nodes: make(map[string]node),
		done: make(chan struct{}), look: make(chan struct{}, 1), news: make(chan struct{}, 1),
	}
}

// Each sets the function for the node of each response. The goroutine of Run calls it.
func (p *Pending) Each(f func(node string)) { p.each = append(p.each, f) }

// Sent sets the function for the moment when the request has been published, or need not be. The goroutine of Run
// calls it.
func (p *Pending) Sent(f func()) { p.sent = f }

// Owe adds n pending acknowledgements of local members.
func (p *Pending) Owe(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owe(p.t.o.Node, n)
}

// owe adds n to the pending acknowledgements of a node; n may be negative. The caller holds mu.
func (p *Pending) owe(id string, n int) {
	if id == "" {
		p.acks += max(p.foreign.acks+n, 0) - max(p.foreign.acks, 0)
		p.foreign.acks += n
		return
	}
	had := p.nodes[id]
	p.acks += max(had.acks+n, 0) - max(had.acks, 0)
	had.acks += n
	p.nodes[id] = had
}

// set changes a node's state. The caller holds mu.
func (p *Pending) set(id string, s State) {
	n := p.nodes[id]
	switch {
	case n.state == Waiting && s != Waiting:
		p.waiting--
	case n.state != Waiting && s == Waiting:
		p.waiting++
	}
	n.state = s
	p.nodes[id] = n
}

// lose ends the wait for a node. It returns false if nothing was pending for it. The caller holds mu.
func (p *Pending) lose(id string) bool {
	n := p.nodes[id]
	if !n.state.listens() && n.acks <= 0 {
		return false
	}
	if n.state.listens() {
		p.set(id, Lost)
	} else {
		p.spoil(id, Lost, "")
	}
	p.owe(id, -max(p.nodes[id].acks, 0))
	return true
}

// spoil records the reason for a missing acknowledgement of a node. The caller holds mu.
func (p *Pending) spoil(id string, why State, text string) {
	n := p.nodes[id]
	n.acked, n.text = why, text
	p.nodes[id] = n
}

// lost handles the departure of a node.
func (p *Pending) lost(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.lose(id):
		p.check()
	case p.nodes[id].state == Unknown && p.foreign.open():
		signal(p.look) // it may be one of the unknown nodes
	}
}

// fail ends the request early.
func (p *Pending) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.err = err
		p.end()
	}
}

// check ends the request if it waits for nothing. The caller holds mu.
func (p *Pending) check() {
	if p.begun && p.waiting == 0 && p.acks == 0 && !p.foreign.open() {
		p.end()
	}
}

func (p *Pending) end() {
	if !p.ended {
		p.ended = true
		close(p.done)
		if p.stop != nil {
			p.stop()
		}
	}
}

// Take handles one response. It returns false for a response of an unknown node, or a second one.
func (p *Pending) Take(r *wire.Response) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := strings.Clone(r.Node) // it is a part of the message
	if p.ended || !p.admit(id, r.Ack) {
		return false
	}
	switch {
	case !p.within(id, sizeOf(r)):
		p.refuse(id, TooLarge, "")
		return true
	case r.Ack && r.Err != "": // the member acknowledged, and that could not be sent
		p.owe(id, -1)
		p.spoil(id, Refused, strings.Clone(r.Err))
		p.check()
		return true
	case r.Ack:
		p.owe(id, -1)
	case r.More && id != "" && (p.req.Op == wire.OpMembers || p.req.Op == wire.OpRooms):
		p.take(r) // the node has responded with the last part
		return true
	case id == "":
		p.foreign.answered++
	default:
		p.named(id)
		// A node that could not do it counts as missing, but the request need not wait for it.
		if r.Busy {
			p.refuse(id, Busy, "")
			return true
		} else if r.Err != "" && p.req.Op != wire.OpCustom && p.req.Op != wire.OpEvent {
			p.refuse(id, Refused, strings.Clone(r.Err))
			return true
		}
		p.set(id, Answered)
	}
	if p.req.Op == wire.OpBroadcast && !r.Ack {
		p.owe(id, max(r.Count, 0))
	}
	if p.each != nil {
		p.untold = append(p.untold, id)
		signal(p.news)
	}
	if p.take(r) {
		p.end()
	} else {
		p.check()
	}
	return true
}

// named handles the first response of a node. One that is not in the snapshot may be one of those that were counted
// without a name: a new count shows that. Nodes in the snapshot were counted by name, so they are none of those, and
// without strangers there are none. The caller holds mu.
func (p *Pending) named(id string) {
	if p.nodes[id].state == Unknown && p.strangers {
		p.foreign.named++
		p.unnamed = append(p.unnamed, id)
		signal(p.look)
	}
}

// refuse records a node whose response counts as missing, and that the request does not wait for any more. The caller
// holds mu.
func (p *Pending) refuse(id string, state State, text string) {
	if id == "" {
		p.foreign.answered++
		p.foreign.tooLarge++
	} else {
		p.set(id, state)
		n := p.nodes[id]
		n.text = text
		p.nodes[id] = n
	}
	if state == TooLarge {
		p.owe(id, -max(p.nodes[id].acks, 0))
	}
	p.check()
}

// expect sets the nodes to wait for. The caller does not hold mu.
func (p *Pending) expect(s *Snapshot, exp wire.Expected) {
	t := p.t
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.nodes[t.o.Node]
	p.nodes = s.clone()
	for _, n := range p.nodes {
		if n.state == Waiting {
			p.waiting++
		}
	}
	if own.acks != 0 {
		p.nodes[t.o.Node] = own
	}
	p.begun, p.strangers = true, t.protocol == broker.Native || s.Unsettled
	uncertain := s.Unsettled || s.Inexact != nil
	p.nameless = uncertain || s.Foreign.Total > 0 || t.protocol != broker.Native && !t.caps.CountsSubscribers
	if uncertain || p.strangers && s.Foreign.Total > 0 {
		p.admits = s.Foreign.Total + moreNames
	}
	f := &p.foreign
	f.counted, f.expected = exp.Answers, exp.Answers
	if f.all = exp.Answers > 0 && exp.Answers == s.Foreign.Total && !exp.FirstOnly; f.all {
		f.slow = t.foreign.slow(p.req.Op, exp.Answers)
	}
}

// Run publishes the request, if publish is set, and waits for the nodes of the snapshot, until ctx ends. The error is
// the cause if the request was not sent or ended early; the caller decides about missing responses.
func (p *Pending) Run(ctx context.Context, s *Snapshot, exp wire.Expected, publish bool) (Result, error) {
	t := p.t
	p.expect(s, exp)
	if err := t.add(p); err != nil {
		p.fail(err) // local members may have the request already, and acknowledge later
		return Result{}, err
	}
	defer t.remove(p)
	if p.each != nil {
		defer p.callEach()
	}
	// From here on goodbyes are noticed; these were sent since the snapshot.
	for _, id := range s.In(Waiting, Unresponsive) {
		if t.o.Members.Departed(id, t.key) {
			p.lost(id)
		}
	}
	began := time.Now()
	if publish {
		if err := t.Publish(ctx, p.req); err != nil {
			return p.finish(s, time.Time{}), err
		}
	}
	if p.sent != nil {
		p.sent()
	}
	p.mu.Lock()
	p.check()
	p.mu.Unlock()
	p.wait(ctx, publish)
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) && time.Since(began) < t.o.Members.SilenceLimit() {
		began = time.Time{}
	}
	r := p.finish(s, began)
	p.mu.Lock()
	defer p.mu.Unlock()
	return r, p.err
}

// callEach calls each with the responses since the last call.
func (p *Pending) callEach() {
	p.mu.Lock()
	list := p.untold
	p.untold = nil
	p.mu.Unlock()
	for _, id := range list {
		for _, f := range p.each {
			f(id)
		}
	}
}

// finish makes the result. late is when the request was sent, if it waited until its deadline: then it records the
// peers that did not respond. Otherwise late is zero.
func (p *Pending) finish(s *Snapshot, late time.Time) (r Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	enough := p.ended
	p.end()
	t, f := p.t, &p.foreign
	r.Foreign, r.Unsettled = f.answered-f.tooLarge, s.Unsettled
	for id, n := range p.nodes {
		state := n.state
		if state == Waiting && !enough {
			state = TimedOut
			if !late.IsZero() {
				t.o.Members.Missed(id, late)
			}
		} else if n.acks > 0 && !late.IsZero() && id != t.o.Node {
			// Its members may be slow, or it may have crashed: it is probed.
			t.o.Members.Missed(id, time.Now())
		}
		switch state {
		case Answered:
			r.Answered = append(r.Answered, id)
		case Unresponsive, Departed, Lost, NotIntroduced, Unreachable, Busy, Refused, TooLarge, TimedOut:
			r.Missing = append(r.Missing, Missing{Node: id, Count: 1, State: state, Text: n.text, Err: s.Err})
			continue
		}
		if n.acked != Unknown {
			r.Missing = append(r.Missing, Missing{Node: id, Count: 1, State: n.acked, Text: n.text})
		}
	}
	slices.Sort(r.Answered)
	slices.SortFunc(r.Missing, func(a, b Missing) int { return strings.Compare(a.Node, b.Node) })
	if f.answered >= f.expected {
		if f.slow > 0 {
			t.foreign.forget()
		}
	} else if f.all && !enough && !late.IsZero() {
		t.foreign.missed(p.req.Op, f.expected, f.expected-f.answered)
	}
	r.Missing = append(r.Missing, f.missing(enough)...)
	if s.Before > 0 {
		r.Missing = append(r.Missing, Missing{Count: s.Before, State: Unreachable, Err: s.Err})
	}
	if s.Inexact != nil && t.mayRespond(p.req) {
		r.Inexact = s.Inexact
	}
	return r
}

// signal wakes the goroutine that waits at ch, a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
