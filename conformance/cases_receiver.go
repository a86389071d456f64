package conformance

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

var receiverCases = []Case{
	{Name: "B09_OneAtATime", Clauses: []Clause{9}, run: caseOneAtATime},
	{Name: "B09_OwnGoroutine", Clauses: []Clause{9}, run: caseOwnGoroutine},
	{Name: "B09_Independent", Clauses: []Clause{9}, Timing: true, run: caseIndependent},
	{Name: "B09_Starved", Clauses: []Clause{9, 14}, Timing: true, run: caseStarved},
	{Name: "B09_Frozen", Clauses: []Clause{9, 1}, Needs: CanFreeze, Timing: true, run: caseFrozen},
	{Name: "B26_Prefilter", Clauses: []Clause{26}, run: casePrefilter},
	{Name: "B27_TryReceiver", Clauses: []Clause{27}, run: caseTryReceiver},
	{Name: "B14_SlowReceiver", Clauses: []Clause{14, 9}, Timing: true, run: caseSlowReceiver},
}

// caseOneAtATime floods one receiver, which detects overlapping calls, from several nodes and through several filters.
func caseOneAtATime(ctx context.Context, e *env) error {
	b, err := e.node(ctx)
	if err != nil {
		return err
	}
	s, err := e.subscribe(ctx, b, native.EveryRoom("/one"), broker.Exactly(native.Requests("/one")), broker.Exactly(broker.Control()))
	if err != nil {
		return err
	}
	channels := []broker.Channel{native.Room("/one", "r"), native.Requests("/one"), native.Broadcast("/one"), broker.Control()}
	streams := make([]*stream, len(channels))
	for i, ch := range channels {
		n := b
		if i > 0 {
			if n, err = e.node(ctx); err != nil {
				return err
			}
		}
		streams[i] = e.from(n, ch)
	}
	if err := inParallel(len(streams), func(i int) error { return streams[i].must(ctx, 500, s) }); err != nil {
		return err
	}
	return s.all(ctx, 1, streams...)
}

// caseOwnGoroutine publishes while holding a lock that the receiver takes too.
func caseOwnGoroutine(ctx context.Context, e *env) error {
	n, err := e.node(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/own", "r")
	r := &locking{got: make(chan struct{}, 100)}
	s, err := n.Broker.Subscribe(ctx, r, broker.Exactly(ch))
	if err != nil {
		return fail(1, "Subscribe failed without a fault: %v", err)
	}
	for range 10 {
		done := make(chan error, 1)
		go func() {
			r.Lock()
			defer r.Unlock()
			done <- n.Broker.Publish(ctx, ch, []byte("x"))
		}()
		select {
		case err := <-done:
			if err != nil {
				return publishFailed(ch, err)
			}
		case <-ctx.Done():
			return fail(9, "Publish waits for a receiver that waits for its caller's lock: Deliver was called from within Publish")
		}
		select {
		case <-r.got:
		case <-ctx.Done():
			return fail(1, "a message on %v did not arrive", ch)
		}
	}
	if err := s.Close(ctx); err != nil {
		return fail(11, "a subscription's Close failed without a fault: %v", err)
	}
	return nil
}

// locking is a receiver that shares a lock with its publisher.
type locking struct {
	sync.Mutex
	got chan struct{}
}

func (l *locking) Deliver(broker.Channel, []byte) {
	l.Lock()
	defer l.Unlock()
	l.got <- struct{}{}
}
func (*locking) Interrupted(error) {}
func (*locking) Resumed()          {}

// caseIndependent blocks one receiver. Every buffer must have room for a hundred small messages, so the other
// receivers get them all.
func caseIndependent(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/held", "r")
	stuck, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	var others []*sub
	for _, n := range []*Node{a, b} {
		s, err := e.subscribe(ctx, n, native.EveryRoom("/held"))
		if err != nil {
			return err
		}
		others = append(others, s)
	}
	stuck.rec.holdUp()
	defer stuck.rec.letGo()
	st := e.from(a, ch)
	if err := st.must(ctx, 100); err != nil {
		return err
	}
	if err := stuck.held(ctx); err != nil {
		return err
	}
	for _, s := range others {
		if err := s.all(ctx, 9, st); err != nil {
			return err
		}
	}
	// New subscriptions do not wait for the blocked receiver either.
	for i := range 10 {
		s, err := e.subscribe(ctx, b, broker.Exactly(native.Requests(fmt.Sprint("/held", i))))
		if err != nil {
			return err
		}
		if err := e.one(ctx, s, a, native.Requests(fmt.Sprint("/held", i))); err != nil {
			return err
		}
	}
	stuck.rec.letGo()
	return stuck.all(ctx, 1, st)
}

func caseFrozen(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/frozen", "r")
	frozen, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	awake, err := e.subscribe(ctx, a, broker.Exactly(ch))
	if err != nil {
		return err
	}
	if err := b.Freeze(ctx); err != nil {
		return setup("freezing a node", err)
	}
	st := e.from(a, ch)
	if err := st.must(ctx, 100); err != nil {
		return err
	}
	if err := awake.all(ctx, 9, st); err != nil {
		return err
	}
	if err := b.Thaw(ctx); err != nil {
		return setup("thawing a node", err)
	}
	return frozen.all(ctx, 1, st)
}

// caseSlowReceiver publishes without pause to a blocked receiver. A broker with room keeps everything; a broker
// without room reports the gap in its place. The recorder reports a gap without Interrupted.
func caseSlowReceiver(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/slow", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	s.rec.holdUp()
	defer s.rec.letGo()
	st := e.from(a, ch)
	for range 20000 {
		if err := st.publish(ctx); err != nil {
			return fail(16, "Publish failed because of another node's slow receiver: %v", err)
		}
	}
	if err := s.held(ctx); err != nil {
		return err
	}
	if err := flushed(ctx, a); err != nil {
		return err
	}
	return s.accounted(ctx, st)
}

// accounted lets a receiver go that was blocked, and checks what it missed of the stream.
func (s *sub) accounted(ctx context.Context, st *stream) error {
	s.rec.letGo()
	if err := s.expect(ctx, 15, st, st.started.Load()+1); err != nil { // live again
		return err
	}
	if err := st.must(ctx, 10); err != nil {
		return err
	}
	if err := s.all(ctx, 15, st); err != nil {
		return err
	}
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	t := s.rec.track(st.id)
	// The messages published only to detect the end of the rest may still be in flight.
	missing := int(t.last) - t.n
	if missing > 0 && len(s.rec.interruption) == 0 {
		return fail(14, "%d messages never arrived and Interrupted was not called", missing)
	}
	if s.rec.missed > missing {
		return fail(14, "the *LossErrors given to Interrupted count %d messages, and %d are missing", s.rec.missed, missing)
	}
	return nil
}

// caseStarved blocks one receiver and publishes more to it than a node may keep. Another one on the same node, and what
// arrives on the control channel, do not wait for it.
func caseStarved(ctx context.Context, e *env) error {
	const rounds, perRound, size = 48, 8, 64 << 10
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	flood, main, control := native.Room("/guest", "r"), native.Room("/main", "r"), broker.Control()
	stuck, err := e.subscribe(ctx, b, native.EveryRoom("/guest"))
	if err != nil {
		return err
	}
	others, err := e.subscribe(ctx, b, native.EveryRoom("/main"), broker.Exactly(control))
	if err != nil {
		return err
	}
	stuck.rec.holdUp()
	defer stuck.rec.letGo()
	st, streams := e.from(a, flood), []*stream{e.from(a, main), e.from(a, control)}
	for range rounds {
		for range perRound {
			if err := st.publishSize(ctx, size); err != nil {
				return fail(16, "Publish failed because of another node's slow receiver: %v", err)
			}
		}
		for _, other := range streams {
			if err := other.publish(ctx); err != nil {
				return publishFailed(other.ch, err)
			}
		}
		if err := others.all(ctx, 9, streams...); err != nil {
			return err
		}
	}
	return stuck.accounted(ctx, st)
}

// casePrefilter has a receiver that wants no room until it has handled a message on another kind of channel, which
// takes a while.
func casePrefilter(ctx context.Context, e *env) error {
	n, err := e.node(ctx)
	if err != nil {
		return err
	}
	r := &choosy{hold: make(chan struct{}), held: make(chan struct{}), got: make(chan string, 64)}
	s, err := n.Broker.Subscribe(ctx, r, n.filters([]broker.Filter{native.EveryRoom("/choosy"), broker.Exactly(native.Requests("/choosy"))})...)
	if err != nil {
		return fail(1, "Subscribe failed without a fault: %v", err)
	}
	publish := func(ch broker.Channel, text string) error {
		if err := n.Broker.Publish(ctx, ch, []byte(text)); err != nil {
			return publishFailed(ch, err)
		}
		return nil
	}
	if err := publish(native.Requests("/choosy"), "join"); err != nil {
		return err
	}
	select {
	case <-r.held:
	case <-ctx.Done():
		return fail(1, "a message on %v did not arrive", native.Requests("/choosy"))
	}
	// The receiver is busy with the request: Wants must not be called for the following messages.
	for i := range 10 {
		if err := publish(native.Room("/choosy", "joined"), fmt.Sprint(i)); err != nil {
			return err
		}
	}
	if err := n.Broker.Flush(ctx); err != nil {
		return fail(17, "Flush failed without a fault: %v", err)
	}
	close(r.hold)
	for i := range 10 {
		select {
		case text := <-r.got:
			if text != fmt.Sprint(i) {
				return fail(2, "message %s instead of %d", text, i)
			}
		case <-ctx.Done():
			return fail(26, "message %d for a room that the receiver wants, since it dealt with an earlier request, did not arrive", i)
		}
	}
	// Any message for an unwanted room may be missing, but no other.
	for i := range 10 {
		if err := publish(native.Room("/choosy", "other"), "unwanted"); err != nil {
			return err
		}
		if err := publish(native.Room("/choosy", "joined"), fmt.Sprint(i)); err != nil {
			return err
		}
	}
	for i := 0; i < 10; {
		select {
		case text := <-r.got:
			if text == fmt.Sprint(i) {
				i++
			} else if text != "unwanted" {
				return fail(2, "message %s instead of %d", text, i)
			}
		case <-ctx.Done():
			return fail(26, "message %d for a room that the receiver wants did not arrive", i)
		}
	}
	if r.early.Load() {
		return fail(26, "Wants was called while Deliver was busy with an earlier message on a channel of another kind")
	}
	if err := s.Close(ctx); err != nil {
		return fail(11, "a subscription's Close failed without a fault: %v", err)
	}
	return nil
}

// choosy wants the room "joined" once it has handled a request.
type choosy struct {
	hold, held chan struct{}
	got        chan string
	joined     atomic.Bool
	early      atomic.Bool
}

func (c *choosy) Deliver(ch broker.Channel, payload []byte) {
	if ch.Kind() == broker.KindRequests {
		close(c.held)
		<-c.hold
		c.joined.Store(true)
		return
	}
	c.got <- string(payload)
}

func (c *choosy) Wants(ch broker.Channel) bool {
	if !c.joined.Load() {
		c.early.Store(true)
	}
	return c.joined.Load() && ch.Name() == "joined"
}

func (*choosy) Interrupted(error) {}
func (*choosy) Resumed()          {}

// caseTryReceiver has a receiver whose TryDeliver often returns false, and whose Deliver is slow.
func caseTryReceiver(ctx context.Context, e *env) error {
	const messages = 2000
	n, err := e.node(ctx)
	if err != nil {
		return err
	}
	r := &picky{last: messages, end: make(chan struct{})}
	room := native.Room("/picky", "r")
	s, err := n.Broker.Subscribe(ctx, r, n.filters([]broker.Filter{native.EveryRoom("/picky")})...)
	if err != nil {
		return fail(1, "Subscribe failed without a fault: %v", err)
	}
	for i := range messages {
		if err := n.Broker.Publish(ctx, room, fmt.Append(nil, i+1)); err != nil {
			return publishFailed(room, err)
		}
	}
	select {
	case <-r.end:
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			r.err = fail(27, "only %d of %d messages arrived by TryDeliver or Deliver", r.seen, messages)
		}
		return r.err
	}
	if err := s.Close(ctx); err != nil {
		return fail(11, "a subscription's Close failed without a fault: %v", err)
	}
	return r.err
}

// picky accepts two of three messages in TryDeliver, and counts all of them.
type picky struct {
	last   int
	end    chan struct{} // closed with the last message, or the first violation
	inside atomic.Int32

	mu      sync.Mutex
	seen    int
	asked   int
	refused string // the message that Deliver must bring next; empty: any
	err     error
}

func (p *picky) TryDeliver(ch broker.Channel, payload []byte) bool {
	defer p.enter()()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != "" {
		p.wrong("TryDeliver was called with %q before Deliver with %q, which TryDeliver had refused", payload, p.refused)
		return true
	}
	if p.asked++; p.asked%3 == 0 {
		p.refused = string(payload)
		return false
	}
	p.next(payload)
	return true
}

func (p *picky) Deliver(ch broker.Channel, payload []byte) {
	defer p.enter()()
	runtime.Gosched() // gives other calls a chance
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused != "" && p.refused != string(payload) {
		p.wrong("Deliver was called with %q before %q, which TryDeliver had refused", payload, p.refused)
	}
	p.refused = ""
	p.next(payload)
}

func (p *picky) Interrupted(error) {}
func (p *picky) Resumed()          {}

// enter marks the start of a call, and returns a function that marks its end.
func (p *picky) enter() (leave func()) {
	if p.inside.Add(1) > 1 {
		p.mu.Lock()
		p.wrong("two calls of the receiver at once")
		p.mu.Unlock()
	}
	return func() { p.inside.Add(-1) }
}

// next counts a message. The caller holds mu.
func (p *picky) next(payload []byte) {
	if p.seen++; string(payload) != fmt.Sprint(p.seen) {
		p.wrong("message %q instead of %d", payload, p.seen)
	}
	if p.seen == p.last && p.err == nil {
		close(p.end)
	}
}

// wrong keeps the first violation. The caller holds mu.
func (p *picky) wrong(format string, args ...any) {
	if p.err == nil {
		p.err = fail(27, format, args...)
		if p.seen < p.last {
			close(p.end)
		}
	}
}
