package conformance

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// env is the environment of a case: a fresh system, and everything that the case makes on it.
type env struct {
	sys   System
	first *Node                // made to detect the powers, handed out first
	logf  func(string, ...any) // notes for people; no decision depends on them

	// Lock order: mu, a recorder's mu, streamMu.
	mu    sync.Mutex
	nodes []*Node
	subs  []*sub
	last  []func(context.Context) // closed before the brokers, in reverse order

	streamMu sync.Mutex // mu is held too while writing; reading needs one of the two
	streams  []*stream  // indexed by id
}

// pokeInterval is how long expect waits before it publishes one more message, whose arrival proves that an earlier one
// was lost.
const pokeInterval = 50 * time.Millisecond

// shortWait is the time limit for calls that are expected to exceed it.
const shortWait = 50 * time.Millisecond

// returnLimit is how soon a call must return after its context has ended, on a busy machine.
const returnLimit = 5 * time.Second

func (e *env) node(ctx context.Context) (*Node, error) {
	e.mu.Lock()
	n := e.first
	e.first = nil
	e.mu.Unlock()
	if n == nil {
		var err error
		if n, err = e.sys.Node(ctx); err != nil {
			return nil, setup("making a node", err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.nodes = append(e.nodes, n)
	return n, nil
}

// pair makes two nodes.
func (e *env) pair(ctx context.Context) (a, b *Node, err error) {
	if a, err = e.node(ctx); err != nil {
		return
	}
	b, err = e.node(ctx)
	return
}

// from makes a stream. Subscriptions that are already live must receive all of it.
func (e *env) from(n *Node, ch broker.Channel) *stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := &stream{env: e, id: uint32(len(e.streams)), node: n, ch: ch}
	e.streamMu.Lock()
	e.streams = append(e.streams, st)
	e.streamMu.Unlock()
	for _, s := range e.subs {
		s.follow(st)
	}
	return st
}

func (e *env) stream(id uint32) *stream {
	e.streamMu.Lock()
	defer e.streamMu.Unlock()
	if int(id) >= len(e.streams) {
		return nil
	}
	return e.streams[id]
}

// sub is a subscription with its recorder. Only one goroutine at a time may call its methods.
type sub struct {
	env  *env
	node *Node
	rec  *recorder
	broker.Subscription
}

// usedRooms are the rooms on which cases publish that subscribe to every room.
var usedRooms = []string{"", "r", "0", "1", "2", "3", "joined"}

// filters returns filters that select at least what the cases publish, also on a broker that takes only Exactly.
func (n *Node) filters(filters []broker.Filter) []broker.Filter {
	if !n.Broker.Capabilities().OnlyExactly {
		return filters
	}
	var exact []broker.Filter
	for _, f := range filters {
		exact = append(exact, broker.Exactly(f.Channel()))
		for _, room := range usedRooms {
			if ch := f.Channel(); f.IsEveryRoom() {
				exact = append(exact, broker.Exactly(ch.Protocol().Room(ch.Namespace(), room)))
			}
		}
	}
	return exact
}

// needsPatterns skips a case about filters that overlap, on a broker that takes only Exactly.
func needsPatterns(n *Node) error {
	if n.Broker.Capabilities().OnlyExactly {
		return skip("the broker claims OnlyExactly, so that no two filters overlap")
	}
	return nil
}

// subscribe makes a subscription, which must succeed.
func (e *env) subscribe(ctx context.Context, n *Node, filters ...broker.Filter) (*sub, error) {
	s, err := e.trySubscribe(ctx, n, filters...)
	if err != nil {
		return nil, fail(1, "Subscribe failed without a fault: %v", err)
	}
	return s, nil
}

func (e *env) trySubscribe(ctx context.Context, n *Node, filters ...broker.Filter) (*sub, error) {
	filters = n.filters(filters)
	s := &sub{env: e, node: n, rec: newRecorder(e)}
	s.allow(filters)
	var err error
	if s.Subscription, err = n.Broker.Subscribe(ctx, s.rec, filters...); err != nil {
		s.rec.blameLate(19) // a failed Subscribe must have left nothing behind
		s.forbid(filters)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subs = append(e.subs, s)
	if err != nil {
		return nil, err
	}
	for _, st := range e.streams {
		s.follow(st)
	}
	return s, nil
}

func (s *sub) allow(filters []broker.Filter) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	for _, f := range filters {
		s.rec.may[f] = struct{}{}
		delete(s.rec.was, f)
	}
}

func (s *sub) forbid(filters []broker.Filter) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	for _, f := range filters {
		delete(s.rec.may, f)
		s.rec.was[f] = struct{}{}
	}
}

// follow makes a gap in the future messages of st a violation, if the subscription selects it. The caller holds
// env.mu.
func (s *sub) follow(st *stream) {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	if !selects(s.rec.may, st.ch) {
		return
	}
	if t := s.rec.track(st.id); t.from == 0 {
		t.from = st.started.Load() + 1
	}
}

// add adds filters, which must succeed.
func (s *sub) add(ctx context.Context, filters ...broker.Filter) error {
	if err := s.tryAdd(ctx, filters...); err != nil {
		return fail(1, "Add failed without a fault: %v", err)
	}
	return nil
}

// tryAdd adds filters, which may fail; after a failure a delivery is a violation.
func (s *sub) tryAdd(ctx context.Context, filters ...broker.Filter) error {
	filters = s.node.filters(filters)
	s.allow(filters)
	if err := s.Add(ctx, filters...); err != nil {
		s.forbid(filters)
		return err
	}
	s.env.mu.Lock()
	defer s.env.mu.Unlock()
	for _, st := range s.env.streams {
		s.follow(st)
	}
	return nil
}

// remove removes filters, which must succeed. Afterwards a delivery is a violation.
func (s *sub) remove(ctx context.Context, filters ...broker.Filter) error {
	filters = s.node.filters(filters)
	// Stop following the streams before the call: a correct broker may stop delivering during it.
	s.leaving(filters)
	if err := s.Remove(ctx, filters...); err != nil {
		return fail(11, "Remove failed without a fault: %v", err)
	}
	s.forbid(filters)
	return nil
}

func (s *sub) leaving(filters []broker.Filter) {
	s.env.mu.Lock()
	defer s.env.mu.Unlock()
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	stay := map[broker.Filter]struct{}{}
	for f := range s.rec.may {
		stay[f] = struct{}{}
	}
	for _, f := range filters {
		delete(stay, f)
	}
	for id, t := range s.rec.streams {
		if !selects(stay, s.env.streams[id].ch) {
			t.from = 0
		}
	}
}

// filters lists the filters that are allowed to deliver.
func (s *sub) filters() []broker.Filter {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	var list []broker.Filter
	for f := range s.rec.may {
		list = append(list, f)
	}
	return list
}

// end closes the subscription, which must succeed.
func (s *sub) end(ctx context.Context) error {
	list := s.filters()
	s.leaving(list)
	if err := s.Close(ctx); err != nil {
		return fail(11, "a subscription's Close failed without a fault: %v", err)
	}
	s.forbid(list)
	return nil
}

// expect waits until message number through of a stream, or a later one, has arrived. If it does not arrive soon,
// expect publishes more messages. They come after it (B2), so the recorder sees whether it was lost.
func (s *sub) expect(ctx context.Context, clause Clause, st *stream, through uint64) error {
	last := uint64(0)
	return s.await(ctx, clause, func() bool {
		last = s.rec.track(st.id).last
		return last >= through
	}, func() error { return st.publish(ctx) }, func() (string, []any) {
		return "message %d on %v did not arrive (the last one seen is %d)", []any{through, st.ch, last}
	})
}

// all expects the arrival of everything published on the streams.
func (s *sub) all(ctx context.Context, clause Clause, streams ...*stream) error {
	for _, st := range streams {
		if err := s.expect(ctx, clause, st, st.started.Load()); err != nil {
			return err
		}
	}
	return nil
}

// await waits until cond, called under the recorder's lock, holds. At intervals it calls poke, which may be nil.
func (s *sub) await(ctx context.Context, clause Clause, cond func() bool, poke func() error, what func() (string, []any)) error {
	ticker := time.NewTicker(pokeInterval)
	defer ticker.Stop()
	for {
		ok, changed, err := s.rec.state(cond)
		if err != nil || ok {
			return err
		}
		select {
		case <-changed:
		case <-ticker.C:
			if poke != nil {
				if err := poke(); err != nil && ctx.Err() == nil {
					return fail(clause, "publishing failed while waiting: %v", err)
				}
			}
		case <-ctx.Done():
			format, args := what()
			return fail(clause, format, args...)
		}
	}
}

// count returns how many messages of a stream have arrived.
func (s *sub) count(st *stream) int {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	return s.rec.track(st.id).n
}

// last returns the number of the latest message that has arrived.
func (s *sub) last(st *stream) uint64 {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	return s.rec.track(st.id).last
}

// missing returns how many messages up to the last one have not arrived. They never will.
func (s *sub) missing(st *stream) uint64 {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	t := s.rec.track(st.id)
	return t.last - uint64(t.n)
}

// held waits until holdUp blocks a Deliver.
func (s *sub) held(ctx context.Context) error {
	return s.await(ctx, 1, func() bool { return s.rec.held > 0 }, nil, func() (string, []any) {
		return "no message arrived", nil
	})
}

// down waits for call number n of Interrupted; up waits for call number n of Resumed.
func (s *sub) down(ctx context.Context, n int) error {
	return s.await(ctx, 14, func() bool { return len(s.rec.interruption) >= n }, nil, func() (string, []any) {
		return "the link was cut and Interrupted was not called (call %d)", []any{n}
	})
}

func (s *sub) up(ctx context.Context, n int) error {
	return s.await(ctx, 15, func() bool { return s.rec.resumed >= n }, nil, func() (string, []any) {
		return "the link is back and Resumed was not called (call %d)", []any{n}
	})
}

// eventually repeats try until it returns nil or ctx ends. After ctx it returns the last error of try.
func eventually(ctx context.Context, try func() error) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// ends makes a call with a short context. The call must return soon after that ends.
func ends(ctx context.Context, name string, call func(context.Context) error) error {
	short, cancel := context.WithTimeout(ctx, shortWait)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- call(short) }()
	timer := time.NewTimer(shortWait + returnLimit)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return fail(20, "%s did not return when its context ended", name)
	case <-ctx.Done():
		return fail(20, "%s did not return when its context ended", name)
	}
}

func asLoss(err error) (*broker.LossError, bool) {
	var loss *broker.LossError
	ok := errors.As(err, &loss)
	return loss, ok
}

// verify returns the first violation that any recorder has seen.
func (e *env) verify() error {
	e.mu.Lock()
	subs := e.subs
	e.mu.Unlock()
	for _, s := range subs {
		if err := s.rec.verify(); err != nil {
			return err
		}
	}
	return nil
}

// close closes every broker and ignores the results, which concern few cases. It limits the wait for a broker that
// hangs.
func (e *env) close() {
	e.mu.Lock()
	nodes := e.nodes
	if e.first != nil {
		nodes = append(nodes, e.first)
	}
	subs, ends := e.subs, slices.Clone(e.last)
	e.mu.Unlock()
	for _, s := range subs {
		s.rec.letGo()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, end := range slices.Backward(ends) {
		end(ctx)
	}
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Go(func() { n.Broker.Close(ctx) })
	}
	done := make(chan struct{})
	go func() { defer close(done); all.Wait() }()
	select {
	case <-done:
	case <-time.After(returnLimit):
	}
}
