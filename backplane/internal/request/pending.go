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

// Pending is a request under way.
type Pending struct {
	t   *Table
	req *wire.Request
	// take adds a response to the result, with mu held. It returns true if no
	// other response matters any more. The response and its slices are not kept.
	take func(*wire.Response) (enough bool)
	// each are called by Run with the node of each response, sent when the request is out.
	each []func(node string)
	sent func()

	mu      sync.Mutex
	nodes   map[string]node // as of the snapshot, and those that have responded since
	waiting int             // how many of nodes are Waiting
	acks    int             // acknowledgements to come of all nodes
	foreign foreignCount
	// unnamed are nodes that responded and are not in the snapshot; admits is how many more of
	// them may do so that are not known.
	unnamed []string
	admits  int
	// nameless: responses without a name are possible.
	nameless bool
	got      int  // bytes of all responses
	begun    bool // Run has begun: it is known who is waited for
	ended    bool
	// strangers: nodes may have been counted without a name.
	strangers bool
	err       error // why it ended early
	done      chan struct{}
	stop      func()        // ends a count that is under way; nil if none may be
	look      chan struct{} // it is time to count again
	untold    []string      // responses that each has not been called with
	news      chan struct{} // untold has become longer
}

// New makes a request that can take responses. It does not end before Run.
func (t *Table) New(req *wire.Request, take func(*wire.Response) bool) *Pending {
	if req.ID == "" {
		req.ID = t.NewID()
	}
	return &Pending{
		t: t, req: req, take: take, nodes: make(map[string]node),
		done: make(chan struct{}), look: make(chan struct{}, 1), news: make(chan struct{}, 1),
	}
}

// Each has f called with the node of each response, by the goroutine that calls Run.
func (p *Pending) Each(f func(node string)) { p.each = append(p.each, f) }

// Sent has f called by that goroutine when the request has been published, or needs not be.
func (p *Pending) Sent(f func()) { p.sent = f }

// Owe notes that this node's members will acknowledge n times.
func (p *Pending) Owe(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.owe(p.t.o.Node, n)
}

// owe notes that n more acknowledgements of a node come, or less. mu is held.
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

// set changes a node's state. mu is held.
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

// lose has a node waited for no more. It returns false if nothing was to come of it. mu is
// held.
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

// spoil notes why an acknowledgement of a node is missing. mu is held.
func (p *Pending) spoil(id string, why State, text string) {
	n := p.nodes[id]
	n.acked, n.text = why, text
	p.nodes[id] = n
}

// lost takes in that a node has left.
func (p *Pending) lost(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.lose(id):
		p.check()
	case p.nodes[id].state == Unknown && p.foreign.open():
		signal(p.look) // it may be one of those that were not known
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

// check ends the request if nothing is waited for. mu is held.
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

// Take takes in one response; false if it is nobody's or a second one.
func (p *Pending) Take(r *wire.Response) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := strings.Clone(r.Node) // which is a part of the message
	if p.ended || !p.admit(id, r.Ack) {
		return false
	}
	switch {
	case !p.within(id, sizeOf(r)):
		p.refuse(id, TooLarge, "")
		return true
	case r.Ack && r.Err != "": // it was given and could not be sent
		p.owe(id, -1)
		p.spoil(id, Refused, strings.Clone(r.Err))
		p.check()
		return true
	case r.Ack:
		p.owe(id, -1)
	case r.More && id != "" && (p.req.Op == wire.OpMembers || p.req.Op == wire.OpRooms):
		p.take(r) // the node has answered with the last part
		return true
	case id == "":
		p.foreign.answered++
	default:
		p.named(id)
		// If it could not do it, it is as good as missing, but not to be waited for.
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

// named takes in that a node responds. One that is not in the snapshot may be one of those
// that were counted without a name: a new count tells. Nodes in the snapshot were counted by
// name, so they are none of them, and neither is any if there were no strangers. mu is held.
func (p *Pending) named(id string) {
	if p.nodes[id].state == Unknown && p.strangers {
		p.foreign.named++
		p.unnamed = append(p.unnamed, id)
		signal(p.look)
	}
}

// refuse notes a node whose response is as good as missing, and that is not waited for any
// more. mu is held.
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

// expect notes who is waited for. mu is not held.
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

// Run publishes the request, if it is to be, and waits for those that the snapshot has, until
// ctx ends. The error is why the request was not sent or ended early; missing responses are
// for the caller to judge.
func (p *Pending) Run(ctx context.Context, s *Snapshot, exp wire.Expected, publish bool) (Result, error) {
	t := p.t
	p.expect(s, exp)
	if err := t.add(p); err != nil {
		p.fail(err) // this node's members may have been asked already, and answer later
		return Result{}, err
	}
	defer t.remove(p)
	if p.each != nil {
		defer p.tell()
	}
	// From here on goodbyes are noticed; these were said since the snapshot.
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

// tell calls each with the responses that have come since the last time.
func (p *Pending) tell() {
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

// finish makes the result. late is when the request was sent, if it was waited for until its
// deadline: peers that did not respond are remembered for that. Otherwise it is zero.
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
			// Its members may be slow, or it is dead: it is probed.
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

// signal wakes the goroutine that waits at ch, which has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
