package backplane

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// A question to the fleet goes like this: census counts who listens, the codec says
// how many of those answer this operation, ask publishes the request and waits until
// each has answered, is known to be gone, or the deadline is there. The deadline is
// set in one place, Namespace.deadline.

// deadline limits a question to the request timeout, or to d if that is positive.
func (ns *Namespace) deadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		d = ns.node.opts.RequestTimeout
	}
	return context.WithTimeout(ctx, d)
}

// call is a question under way.
type call struct {
	ns  *Namespace
	req *Request
	// take adds an answer to the result, with mu held. It returns true if no
	// other answer matters any more. The response and its slices are not kept.
	take func(*Response) (enough bool)

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

	// With a RequestObserver: who has answered, as far as it does not know yet. Its
	// methods are called by the asker's goroutine only.
	data   *RequestData // nil without one
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
	c.gone[id] = ErrPeerGone
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
func (c *call) answer(r *Response) bool {
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
			if r.More && (c.req.Op == OpMembers || c.req.Op == OpRooms) {
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
			if r.Busy || r.Err != "" && c.req.Op != OpCustom && c.req.Op != OpEvent {
				// It could not do it: as good as missing, but not to be waited for.
				c.gone[strings.Clone(r.Node)] = refusal(r)
				c.check()
				return true
			}
			c.answered = append(c.answered, strings.Clone(r.Node))
		}
		if c.req.Op == OpBroadcast {
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
func refusal(r *Response) error {
	if r.Busy {
		return ErrBusy
	}
	return &RefusedError{Text: strings.Clone(r.Err)}
}

// question asks the whole fleet and returns who answered. The error is a
// *PartialError if somebody is missing, or if the broker could not be asked; any
// other error means that nobody was asked.
func (ns *Namespace) question(ctx context.Context, req *Request, take func(*Response) bool) (Fleet, error) {
	c, err := ns.census(ctx, req.Op)
	if err != nil {
		return c.unreachable(ns, req.Op, err)
	}
	exp, err := ns.codec.Expect(ns.name, req, c.others)
	if err != nil {
		return Fleet{}, err
	}
	fleet, err := ns.ask(ctx, req, &c, exp, take)
	if err != nil && !isOutage(err) {
		return fleet, err
	}
	return fleet, ns.partial(ctx, req.Op, fleet, err)
}

// isOutage tells errors that come with what is known so far from refusals.
func isOutage(err error) bool {
	var name *broker.NameError
	var size *broker.PayloadError
	return !errors.Is(err, errors.ErrUnsupported) && !errors.As(err, &name) && !errors.As(err, &size)
}

// ask publishes req to those that c counted and collects their answers until ctx
// ends. An error means that the request did not go out, or that this namespace was
// closed; missing answers are for the caller to judge.
func (ns *Namespace) ask(ctx context.Context, req *Request, c *census, exp Expected, take func(*Response) bool) (Fleet, error) {
	call := newCall(ns, req, take)
	return call.run(call.start(ctx, c, exp), c, exp, ns.heardBy(c))
}

// heardBy reports whether anybody is there to hear a request. A broker that cannot
// count may have nodes on it that have not announced themselves yet.
func (ns *Namespace) heardBy(c *census) bool {
	return c.peers() > 0 || c.inexact != nil || c.err == nil && !ns.node.caps.CountsSubscribers
}

// newCall makes a call that can take answers. It does not end before run.
func newCall(ns *Namespace, req *Request, take func(*Response) bool) *call {
	if req.ID == "" {
		req.ID = ns.calls.newID()
	}
	return &call{
		ns: ns, req: req, take: take, done: make(chan struct{}), look: make(chan struct{}, 1),
		news: make(chan struct{}, 1),
	}
}

// expect notes who is to be waited for, and how to end that.
func (c *call) expect(who *census, exp Expected, stop context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted, c.stop = true, stop
	c.want, c.leaving, c.unseen, c.out = exp.Answers, who.leaving, who.unseen, who.err
	c.waiting, c.gone = make(map[string]bool, len(who.alive)), make(map[string]error, len(who.gone))
	for _, id := range who.alive {
		c.waiting[id] = who.bad[id] != suspect
		if who.bad[id] == doubted {
			c.doubted = append(c.doubted, id)
		}
	}
	c.inexact = c.ns.uncounted(c.req, who)
	reason := who.err
	if reason == nil {
		reason = ErrPeerGone
	}
	for _, id := range who.gone {
		c.gone[id] = reason
	}
	for _, id := range who.ghosts {
		c.gone[id] = ErrPeerGone
	}
	for _, id := range who.unknown {
		c.gone[id] = ErrNotIntroduced
	}
	if c.all = exp.Answers > 0 && exp.Answers == who.others.Total && !exp.FirstOnly; c.all {
		c.quiet = c.ns.quiet.among(c.req.Op, exp.Answers)
	}
}

// start tells the observer that the question begins, and returns its context.
func (c *call) start(ctx context.Context, who *census, exp Expected) context.Context {
	n := c.ns.node
	ro := n.observe.request
	if ro == nil {
		return ctx
	}
	d := c.ns.requestData(c.req)
	d.Expected, d.ExpectedUnnamed = len(who.alive), exp.Answers
	ctx = observedStart(ctx, n, "RequestStart", RequestObserver.RequestStart, ro, d)
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
		n.observed("RequestAnswer", func() { n.observe.request.RequestAnswer(ctx, c.data, node) })
	}
}

// run publishes the request, unless nobody is there to hear it, and waits for those
// that who counted.
func (c *call) run(ctx context.Context, who *census, exp Expected, publish bool) (fleet Fleet, err error) {
	ns := c.ns
	ns.node.counters.asked.Add(1)
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	if d := c.data; d != nil {
		d.Expected, d.ExpectedUnnamed = len(who.alive), exp.Answers
		defer func() {
			c.tell(ctx)
			d.Fleet, d.Err = fleet, err
			ns.node.observed("RequestEnd", func() { ns.node.observe.request.RequestEnd(ctx, d) })
		}()
	}
	c.expect(who, exp, stop)
	if err := ns.calls.add(c); err != nil {
		c.mu.Lock()
		c.end() // this node's members may have been asked already, and answer later
		c.mu.Unlock()
		return Fleet{}, err
	}
	defer ns.calls.remove(c)
	// From here on goodbyes are noticed; these were said since the census.
	for _, id := range c.unheard() {
		if ns.node.peers.departed(id, nsKey{ns.wire, ns.name}) {
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
	late := errors.Is(ctx.Err(), context.DeadlineExceeded) || time.Since(began) >= ns.node.opts.RequestTimeout*9/10
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
func (c *call) finish(exp Expected, late time.Time) (f Fleet, _ error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	enough := c.ended
	c.end()
	f.Answered, f.Unnamed, f.Silent = c.answered, c.unnamed, exp.Silent
	slices.Sort(f.Answered)
	for id, err := range c.gone {
		f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: err})
	}
	for id, waited := range c.waiting {
		switch {
		case !waited:
			f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: ErrPeerSilent})
			if slices.Contains(c.doubted, id) {
				c.ns.node.peers.missed(id, time.Now())
			}
		case !enough:
			f.Missing = append(f.Missing, Missing{Node: id, Count: 1, Reason: ErrNoAnswer})
			if !late.IsZero() {
				c.ns.node.peers.missed(id, late)
			}
		}
	}
	if !late.IsZero() {
		// Their members may be slow, or they are dead: reason to doubt, no more.
		for id, n := range c.owed {
			if n > 0 && id != c.ns.node.id {
				c.ns.node.peers.missed(id, time.Now())
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
		f.Missing = append(f.Missing, Missing{Count: n, Reason: ErrNoAnswer})
		if c.all && !late.IsZero() {
			c.ns.quiet.note(c.req.Op, c.want, n)
		}
	case c.excused > 0:
		f.Missing = append(f.Missing, Missing{Count: min(n, c.excused), Reason: ErrPeerSilent})
	}
	if c.vanished > 0 {
		f.Missing = append(f.Missing, Missing{Count: c.vanished, Reason: ErrPeerGone})
	}
	if c.unseen > 0 {
		f.Missing = append(f.Missing, Missing{Count: c.unseen, Reason: c.out})
	}
	f.Uncounted = c.inexact
	return f, c.err
}

// uncounted returns why a response may be missing that was not counted on. On the native
// wire there is none: all peers are Crossroom nodes, which announce themselves.
func (ns *Namespace) uncounted(req *Request, who *census) error {
	if who.inexact == nil || ns.wire == broker.Native {
		return nil
	}
	one, err := ns.codec.Expect(ns.name, req, Unannounced{Total: 1, Responding: -1})
	if err == nil && one.Answers == 0 {
		return nil // foreign peers do not respond to this
	}
	return who.inexact
}

// sendable says in advance why a request cannot be sent: nothing is done here that
// others cannot be told of.
func (ns *Namespace) sendable(req *Request) error {
	if req.ID == "" {
		req.ID = ns.calls.newID() // counts in the size
	}
	buf, err := ns.codec.AppendRequest(nil, ns.name, req)
	if limit := ns.node.limit; err == nil && limit > 0 && len(buf) > limit {
		err = &broker.PayloadError{Size: len(buf), Max: limit}
	}
	return err
}

// requestData describes a request to the observer.
func (ns *Namespace) requestData(req *Request) *RequestData {
	return &RequestData{
		Source: ns.node.source, Namespace: ns.name, Op: req.Op, ID: req.ID, NoReply: req.NoReply,
		Rooms: req.Rooms, Except: req.Except, PayloadBytes: len(req.Payload), Header: cloneHeader(req.Header),
	}
}

// tell publishes a request that nobody answers.
func (ns *Namespace) tell(ctx context.Context, req *Request) error {
	ro := ns.node.observe.request
	if ro == nil {
		return ns.publishRequest(ctx, req)
	}
	d := ns.requestData(req)
	ctx = observedStart(ctx, ns.node, "RequestStart", RequestObserver.RequestStart, ro, d)
	req.Header = d.Header
	d.Err = ns.publishRequest(ctx, req)
	ns.node.observed("RequestEnd", func() { ro.RequestEnd(ctx, d) })
	return d.Err
}

func (ns *Namespace) publishRequest(ctx context.Context, req *Request) error {
	buf, err := ns.codec.AppendRequest(nil, ns.name, req)
	if err != nil {
		return err
	}
	return ns.node.broker.Publish(ctx, ns.wire.Requests(ns.name), buf)
}

// response takes in another node's answer.
func (l *lane) response(ch broker.Channel, payload []byte) {
	ns := l.ns
	var r Response
	if err := ns.codec.DecodeResponse(payload, ns.name, &r); err != nil {
		l.drop(ch, reasonOf(err), err)
		return
	}
	if r.Node == ns.node.id {
		l.drop(ch, DropEcho, nil)
		return
	}
	ns.node.heard(r.Node)
	// On the shared channel most answers are to other nodes' questions.
	if !ns.calls.own(r.RequestID) {
		l.drop(ch, DropForeign, nil)
		return
	}
	c := ns.calls.find(r.RequestID)
	if c != nil && r.lacks(c.req.Op) {
		l.drop(ch, DropUndecodable, errLacking)
		return
	}
	if c == nil || !c.answer(&r) {
		if r.Node == "" {
			ns.quiet.forget() // one of them lives
		}
		l.drop(ch, DropStray, nil)
	}
}

var errLacking = errors.New("response without what was asked for")

// lacks reports whether a foreign peer's response has not got what a request is for. It
// does not count as that peer's answer: what was asked for is missing.
func (r *Response) lacks(op Op) bool {
	if r.Node != "" || r.Ack {
		return false
	}
	switch op {
	case OpMembers:
		return r.Members == nil
	case OpRooms:
		return r.Rooms == nil
	case OpRoomsOf: // asked as OpMembers where the wire has nothing better
		return r.Rooms == nil && r.Members == nil
	case OpBroadcast:
		return r.Count < 0
	}
	return false
}

// partial makes the error of an incomplete answer, nil if nobody is missing. Pass
// why asking ended early, if it did.
func (ns *Namespace) partial(ctx context.Context, op Op, f Fleet, err error) error {
	if err == nil && len(f.Missing) == 0 && f.Uncounted == nil {
		return nil
	}
	ns.node.counters.partial.Add(1)
	if err == nil && len(f.Missing) == 0 {
		err = f.Uncounted
	}
	if err == nil {
		err = f.Missing[0].Reason
		for _, m := range f.Missing {
			if errors.Is(m.Reason, ErrNoAnswer) {
				err = ctx.Err()
				break
			}
		}
	}
	return &PartialError{Op: op, Fleet: f, Err: err}
}
