package backplane

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/backplane/internal/membership"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// call is a question under way.
type call struct {
	ns  *Namespace
	req *wire.Request
	// take adds an answer to the result, with mu held. It returns true if no
	// other answer matters any more. The response and its slices are not kept.
	take func(*wire.Response) (enough bool)

	mu       sync.Mutex
	counted  bool            // it is known who is to be waited for: run has begun
	waiting  map[string]bool // announced nodes that have not answered; true: waited for
	gone     map[string]error
	leaving  []string
	answered []string
	want     int // answers of unannounced peers
	quiet    int // … of them that did not come the last time
	excused  int // … of them not waited for any more
	unnamed  int // … that came
	vanished int // … that will not: the peer is there no more
	// claims are nodes that answered and were not known when others were counted. Each is
	// one of want, unless it was leaving and was not counted any more: strays may be such.
	claims []string
	strays int
	// Acknowledgements yet to come, by node ("" for unannounced ones). Below zero
	// while a node's acknowledgements are here before their number is, and when
	// a member answered that its node had not counted.
	owed  map[string]int
	ended bool
	done  chan struct{}
	stop  context.CancelFunc // ends what run waits for besides; nil before run
	look  chan struct{}      // somebody has left: it is time to count again
	err   error              // why it ended early

	doubted []string // waited for until half of the time is over
	unseen  int      // unannounced peers that nobody could count; c.out says why
	out     error
	all     bool  // every unannounced peer is to answer
	inexact error // why unannounced peers may be missing that were not counted

	// With an observer: who has answered, as far as it does not know yet. Its
	// methods are called by the asker's goroutine only.
	data   *observe.Request // nil without one
	untold []string
	news   chan struct{} // untold has become longer
}

// lost says that a node is gone.
func (c *call) lost(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.giveUp(id) {
		c.check()
		return
	}
	if c.unnamed < c.want && c.gone[id] == nil && !slices.Contains(c.answered, id) {
		// It may be one of those that had not announced themselves.
		signal(c.look)
	}
}

// signal wakes whoever waits at ch, which has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// giveUp stops waiting for a node; false if it owes nothing. c.mu is held.
func (c *call) giveUp(id string) bool {
	if _, open := c.waiting[id]; !open && c.owed[id] <= 0 {
		return false
	}
	delete(c.waiting, id)
	delete(c.owed, id)
	c.gone[id] = ErrPeerLost
	return true
}

// unheard lists the announced nodes that have not answered.
func (c *call) unheard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.waiting))
}

// check ends the call if nothing is waited for. c.mu is held.
func (c *call) check() {
	if !c.counted || c.unnamed < c.want-c.excused {
		return
	}
	for _, n := range c.owed {
		if n > 0 {
			return
		}
	}
	for _, wait := range c.waiting {
		if wait {
			return
		}
	}
	c.end()
}

func (c *call) end() {
	if !c.ended {
		c.ended = true
		close(c.done)
		if c.stop != nil {
			c.stop()
		}
	}
}

// owe notes that a node will send n more acknowledgements.
func (c *call) owe(node string, n int) {
	if c.owed == nil {
		c.owed = make(map[string]int)
	}
	c.owed[node] += n
}

// answer takes in one response; false if it is nobody's or a second one.
func (c *call) answer(r *wire.Response) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	if r.Ack && r.Err != "" {
		// It was given and could not be sent.
		c.owe(r.Node, -1)
		c.gone[strings.Clone(r.Node)] = refusal(r)
		c.check()
		return true
	}
	if r.Ack {
		c.owe(r.Node, -1)
	} else {
		if r.Node == "" {
			c.unnamed++
		} else {
			if slices.Contains(c.answered, r.Node) {
				return false
			}
			if r.More && (c.req.Op == wire.OpMembers || c.req.Op == wire.OpRooms) {
				c.take(r) // the node has answered with the last part
				return true
			}
			if _, open := c.waiting[r.Node]; open {
				delete(c.waiting, r.Node)
			} else if c.gone[r.Node] != nil {
				delete(c.gone, r.Node) // not so gone
			} else if c.want > 0 && !slices.Contains(c.leaving, r.Node) {
				if c.settles() {
					c.claims = append(c.claims, strings.Clone(r.Node))
					signal(c.look)
				} else {
					c.want--
				}
			}
			if r.Busy || r.Err != "" && c.req.Op != wire.OpCustom && c.req.Op != wire.OpEvent {
				// It could not do it: as good as missing, but not to be waited for.
				c.gone[strings.Clone(r.Node)] = refusal(r)
				c.check()
				return true
			}
			c.answered = append(c.answered, strings.Clone(r.Node))
		}
		if c.req.Op == wire.OpBroadcast {
			c.owe(r.Node, max(r.Count, 0))
		}
	}
	if c.data != nil {
		c.untold = append(c.untold, r.Node)
		signal(c.news)
	}
	if c.take(r) {
		c.end()
	} else {
		c.check()
	}
	return true
}

// refusal is why a node is missing that answered with an error.
func refusal(r *wire.Response) error {
	if r.Busy {
		return ErrBusy
	}
	return &RefusedError{Text: strings.Clone(r.Err)}
}

// newCall makes a call that can take answers. It does not end before run.
func newCall(ns *Namespace, req *wire.Request, take func(*wire.Response) bool) *call {
	if req.ID == "" {
		req.ID = ns.calls.newID()
	}
	return &call{
		ns: ns, req: req, take: take, done: make(chan struct{}), look: make(chan struct{}, 1),
		news: make(chan struct{}, 1),
	}
}

// expect notes who is to be waited for, and how to end that.
func (c *call) expect(who *census, exp wire.Expected, stop context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted, c.stop = true, stop
	c.want, c.leaving, c.unseen, c.out = exp.Answers, who.leaving, who.unseen, who.err
	c.waiting, c.gone = make(map[string]bool, len(who.alive)), make(map[string]error, len(who.gone))
	for _, id := range who.alive {
		c.waiting[id] = who.bad[id] != membership.Suspect
		if who.bad[id] == membership.Doubted {
			c.doubted = append(c.doubted, id)
		}
	}
	c.inexact = c.ns.uncounted(c.req, who)
	reason := who.err
	if reason == nil {
		reason = ErrPeerLost
	}
	for _, id := range who.gone {
		c.gone[id] = reason
	}
	for _, id := range who.ghosts {
		c.gone[id] = ErrPeerLost
	}
	for _, id := range who.unknown {
		c.gone[id] = ErrNotIntroduced
	}
	if c.all = exp.Answers > 0 && exp.Answers == who.others.Total && !exp.FirstOnly; c.all {
		c.quiet = c.ns.quiet.among(c.req.Op, exp.Answers)
	}
}

// start tells the observer that the question begins, and returns its context.
func (c *call) start(ctx context.Context, who *census, exp wire.Expected) context.Context {
	n := c.ns.node
	ro := n.observe.Request
	if ro == nil {
		return ctx
	}
	d := c.ns.requestData(c.req)
	d.Expected, d.ExpectedForeign = len(who.alive), exp.Answers
	ctx = observedStart(ctx, n, "RequestStart", observe.Observer.RequestStart, ro, d)
	c.data, c.req.Header = d, d.Header
	return ctx
}

// tell tells the observer who has answered since the last time.
func (c *call) tell(ctx context.Context) {
	c.mu.Lock()
	list := c.untold
	c.untold = nil
	c.mu.Unlock()
	n := c.ns.node
	for _, node := range list {
		n.observed("RequestResponse", func() { n.observe.Request.RequestResponse(ctx, c.data, node) })
	}
}

// run publishes the request, unless nobody is there to hear it, and waits for those
// that who counted.
func (c *call) run(ctx context.Context, who *census, exp wire.Expected, publish bool) (fleet Coverage, err error) {
	ns := c.ns
	ns.node.counters.asked.Add(1)
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	if d := c.data; d != nil {
		d.Expected, d.ExpectedForeign = len(who.alive), exp.Answers
		defer func() {
			c.tell(ctx)
			d.Responded, d.Err = len(fleet.Answered)+fleet.Foreign, err
			for _, m := range fleet.Missing {
				d.Missing = append(d.Missing, observe.Missing(m))
			}
			ns.node.observed("RequestEnd", func() { ns.node.observe.Request.RequestEnd(ctx, d) })
		}()
	}
	c.expect(who, exp, stop)
	if err := ns.calls.add(c); err != nil {
		c.mu.Lock()
		c.end() // this node's members may have been asked already, and answer later
		c.mu.Unlock()
		return Coverage{}, err
	}
	defer ns.calls.remove(c)
	// From here on goodbyes are noticed; these were said since the census.
	for _, id := range c.unheard() {
		if ns.node.members.Departed(id, ns.key()) {
			c.lost(id)
		}
	}
	began := time.Now()
	if publish {
		if err := ns.publishRequest(ctx, c.req); err != nil {
			fleet, _ = c.finish(exp, time.Time{})
			return fleet, err
		}
	}
	c.mu.Lock()
	c.check()
	c.mu.Unlock()
	c.wait(ctx, waiting, publish)
	late := errors.Is(ctx.Err(), context.DeadlineExceeded) || time.Since(began) >= ns.node.opts.RequestsTimeout*9/10
	if !late {
		began = time.Time{}
	}
	if fleet, err = c.finish(exp, began); err == nil {
		err = who.doubt()
	}
	return fleet, err
}

// finish closes the books. late is when the question was asked, if it was waited for
// until its deadline: who did not answer is remembered for that. Otherwise it is zero.
func (c *call) finish(exp wire.Expected, late time.Time) (f Coverage, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	enough := c.ended
	c.end()
	f.Answered, f.Foreign, f.Unconfirmed = c.answered, c.unnamed, exp.Silent
	slices.Sort(f.Answered)
	for id, err := range c.gone {
		f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: err})
	}
	for id, waited := range c.waiting {
		switch {
		case !waited:
			f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: ErrPeerUnresponsive})
			if slices.Contains(c.doubted, id) {
				c.ns.node.members.Missed(id, time.Now())
			}
		case !enough:
			f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: ErrNoResponse})
			if !late.IsZero() {
				c.ns.node.members.Missed(id, late)
			}
		}
	}
	if !late.IsZero() {
		// Their members may be slow, or they are dead: reason to doubt, no more.
		for id, n := range c.owed {
			if n > 0 && id != c.ns.node.id {
				c.ns.node.members.Missed(id, time.Now())
			}
		}
	}
	slices.SortFunc(f.Missing, func(a, b Missing) int { return strings.Compare(a.Node, b.Node) })
	switch n := c.want - c.unnamed; {
	case n <= 0:
		if c.quiet > 0 {
			c.ns.quiet.forget()
		}
	case !enough:
		f.Missing = append(f.Missing, Missing{Count: n, Reason: ErrNoResponse})
		if c.all && !late.IsZero() {
			c.ns.quiet.note(c.req.Op, c.want, n)
		}
	case c.excused > 0:
		f.Missing = append(f.Missing, Missing{Count: min(n, c.excused), Reason: ErrPeerUnresponsive})
	}
	if c.vanished > 0 {
		f.Missing = append(f.Missing, Missing{Count: c.vanished, Reason: ErrPeerLost})
	}
	if c.unseen > 0 {
		f.Missing = append(f.Missing, Missing{Count: c.unseen, Reason: c.out})
	}
	f.Uncounted = c.inexact
	return f, c.err
}
