package redisbroker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/backoff"
	"github.com/crossroom/crossroom/broker/internal/inbox"
	"github.com/crossroom/crossroom/broker/internal/signals"
)

// routesKept is how many channel names are remembered with what they mean, and
// longestKept how long they may be, in bytes: anybody may publish to names of 64 KiB.
const (
	routesKept  = 1 << 13
	longestKept = 1 << 10
)

// subscriber keeps one connection for all subscriptions, for as long as there are
// filters and a little longer. Its goroutine, run, connects and writes; a second one
// reads.
type subscriber struct {
	nodes *nodes
	names *naming
	opts  *Options
	log   *slog.Logger
	// work tells run that there is something to send.
	work   chan struct{}
	counts *inbox.Counts

	mu     sync.Mutex
	reg    *registry
	closed bool
	outage chan struct{} // closed at the end of the present one; nil if there is none

	// turn changes, under mu, with whatever decides where messages go.
	turn atomic.Uint64

	// The reader's own: routes by name, of what comes for that very name and of what
	// comes for a pattern. They are good for one turn.
	exact, patterned map[string]*route
	routed           uint64
}

// route is where a message goes.
type route struct {
	ch      broker.Channel
	targets []target
}

// target is a subscription that is to get a message, as it was at that moment.
type target struct {
	sub    *subscription
	epoch  uint64
	wanted bool // the message that is being read
}

func newSubscriber(n *nodes, names *naming, opts *Options) *subscriber {
	return &subscriber{
		nodes: n, names: names, opts: opts, log: opts.Logger,
		work: make(chan struct{}, 1), counts: inbox.NewCounts(), reg: newRegistry(names), exact: map[string]*route{}, patterned: map[string]*route{},
	}
}

// subscribe makes a subscription and waits until it is live.
func (s *subscriber) subscribe(ctx context.Context, r broker.Receiver, filters []broker.Filter) (*subscription, error) {
	u := newSubscription(s, r)
	// The goroutine is ended and waited for by Close, of the subscription or of the
	// broker, which finds it in the registry; or below.
	go u.in.Run()
	if err := s.add(ctx, u, filters); err != nil {
		s.drop(u)
		<-u.in.Done() // nothing was delivered, so it ends at once
		return nil, err
	}
	return u, nil
}

func (s *subscriber) add(ctx context.Context, u *subscription, filters []broker.Filter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, f := range filters {
		if err := s.names.check(f.Channel()); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if s.closed || u.in.IsShut() {
		s.mu.Unlock()
		return broker.ErrClosed
	}
	r := s.reg.ask(u, filters)
	s.turn.Add(1)
	s.mu.Unlock()
	signals.Raise(s.work)
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.reg.fail(r, ctx.Err())
	s.mu.Unlock()
	signals.Raise(s.work)
	return <-r.done // the other outcome may have been a moment faster
}

// remove takes filters from u at once, and returns what to wait for until that is
// so in every respect.
func (s *subscriber) remove(u *subscription, filters []broker.Filter) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waits []<-chan struct{}
	for _, f := range filters {
		if gone := s.reg.remove(u, f); gone != nil {
			waits = append(waits, gone)
		}
	}
	s.turn.Add(1)
	signals.Raise(s.work)
	// Also if nothing was removed now: the call may belong to what an earlier Remove
	// took out that did not wait for its end.
	return append(waits, u.in.Retract(u.matches))
}

// matches reports whether one of the filters selects ch. The subscriber's mutex is held.
func (u *subscription) matches(ch broker.Channel) bool {
	if u.filters[broker.Exactly(ch)] != nil {
		return true
	}
	switch ch.Kind() {
	case broker.KindRoom, broker.KindBroadcast:
		return u.filters[ch.Wire().EveryRoom(ch.Namespace())] != nil
	}
	return false
}

// drop ends a subscription and returns what to wait for, apart from its goroutine.
func (s *subscriber) drop(u *subscription) []<-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.in.Shut()
	for r := range s.reg.asking {
		if r.sub == u {
			s.reg.fail(r, broker.ErrClosed)
		}
	}
	u.down = false // no Resumed will come
	var waits []<-chan struct{}
	for f := range u.filters {
		if gone := s.reg.remove(u, f); gone != nil {
			waits = append(waits, gone)
		}
	}
	s.turn.Add(1)
	delete(s.reg.subs, u)
	s.recovered()
	signals.Raise(s.work)
	return waits
}

// run keeps the connection until ctx ends.
func (s *subscriber) run(ctx context.Context) {
	server := &picker{nodes: s.nodes}
	pause := &backoff.Backoff{Min: s.opts.BackoffMin, Max: s.opts.BackoffMax}
	told := false // in the log, that there is no connection
	for ctx.Err() == nil {
		if !s.isNeeded() {
			select {
			case <-s.work:
			case <-ctx.Done():
			}
			continue
		}
		c, err := server.dial(ctx, s.opts.ProbeTimeout)
		if err == nil {
			told = false
			err = s.serve(ctx, c)
			if time.Since(c.born) > s.opts.BackoffMax {
				pause.Reset()
			}
			if c.cause == errFinished {
				continue
			}
		}
		if ctx.Err() != nil {
			break
		}
		if !told {
			s.log.Warn("redis broker: not subscribed", "err", err)
		}
		told = true
		if s.interrupt(err) {
			select {
			case <-time.After(pause.Next()):
			case <-ctx.Done():
			}
		} else {
			pause.Reset()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.disconnected(func(*subscription) {}) // those who wait for an answer of the server
}

func (s *subscriber) isNeeded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reg.needed()
}

// hangUp reports whether the connection is of no use any more. If so, whoever
// subscribes from now on waits for the next one.
func (s *subscriber) hangUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reg.needed() {
		return false
	}
	s.reg.disconnected(func(*subscription) {})
	return true
}

// interrupt tells everybody that the connection is gone, and reports whether there
// is somebody to come back for. If there is not, those who are just subscribing get
// the error: at the start it says more than a wait.
func (s *subscriber) interrupt(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reg.disconnected(func(u *subscription) { u.in.Interrupt(err) })
	s.turn.Add(1)
	if s.reg.down() {
		if s.outage == nil {
			s.outage = make(chan struct{})
		}
		return true
	}
	for r := range s.reg.asking {
		s.reg.fail(r, err)
	}
	return false
}

// serve uses a connection until it breaks, and returns why.
func (s *subscriber) serve(ctx context.Context, c *conn) error {
	stop := context.AfterFunc(ctx, func() { c.close(context.Cause(ctx)) })
	defer stop()
	s.mu.Lock()
	s.reg.connected()
	s.turn.Add(1)
	s.mu.Unlock()
	s.log.Info("redis broker: connected for subscribing", "addr", c.addr)

	var reading sync.WaitGroup
	reading.Go(func() { c.close(s.read(c)) })
	s.write(c)
	reading.Wait()
	return c.lost()
}

// write sends what the registry asks for until the connection is closed, which it
// does itself if the server is silent.
func (s *subscriber) write(c *conn) {
	beat := pulse{interval: s.opts.ProbeInterval, timeout: s.opts.ProbeTimeout}
	timer := time.NewTimer(beat.interval)
	defer timer.Stop()
	ask := func() error {
		if s.hangUp() {
			return errFinished
		}
		s.mu.Lock()
		s.reg.sent.Push(&order{command: "PING"})
		s.mu.Unlock()
		_, err := c.write(appendCommand(nil, "PING"), s.opts.ProbeTimeout)
		return err
	}
	var buf []byte
	for {
		buf = s.orders(buf[:0])
		if len(buf) > 0 {
			if _, err := c.write(buf, s.opts.ProbeTimeout); err != nil {
				c.close(err)
				return
			}
			continue
		}
		if !beat.tend(c, s.work, timer, ask) {
			return
		}
	}
}

// orders encodes what can be sent now.
func (s *subscriber) orders(buf []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o := s.reg.nextOrder(); o != nil; o = s.reg.nextOrder() {
		buf = appendHeader(buf, '*', 1+len(o.entries))
		buf = appendHeader(buf, '$', len(o.command))
		buf = append(buf, o.command...)
		buf = append(buf, '\r', '\n')
		for _, e := range o.entries {
			buf = appendHeader(buf, '$', len(e.name))
			buf = append(buf, e.name...)
			buf = append(buf, '\r', '\n')
		}
	}
	return buf
}

// read handles frames until the connection breaks, and returns why.
func (s *subscriber) read(c *conn) error {
	var f frame
	for {
		if err := readFrame(c.r, &f); err != nil {
			return err
		}
		if f.kind == frameMessage || f.kind == framePMessage {
			if err := s.message(c, &f); err != nil {
				return err
			}
			continue
		}
		if err := s.answer(&f); err != nil {
			return err
		}
	}
}

// answer handles what is not a message.
func (s *subscriber) answer(f *frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch f.kind {
	case frameSubscribed, frameUnsubscribed:
		err = s.reg.confirmed(f.kind == frameSubscribed, f.name)
	case framePong:
		err = s.reg.ponged()
	case frameError:
		err = s.reg.refused(f.err)
	}
	s.turn.Add(1)
	s.recovered()
	if s.reg.todo.Len() > 0 {
		signals.Raise(s.work)
	}
	return err
}

// recovered ends the outage if nobody is down any more. mu is held.
func (s *subscriber) recovered() {
	if s.outage != nil && !s.reg.down() {
		close(s.outage)
		s.outage = nil
	}
}

// interrupted returns a channel that is closed when all subscriptions are live again,
// nil if they are.
func (s *subscriber) interrupted() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outage
}

// message reads a message's payload and hands it to the subscriptions that want it,
// or passes over it if none does.
func (s *subscriber) message(c *conn, f *frame) error {
	r := s.route(f)
	wanted := 0
	for i := range r.targets {
		t := &r.targets[i]
		if t.wanted = t.sub.in.Wants(&r.ch); t.wanted {
			wanted++
		}
	}
	if wanted == 0 {
		return skipPayload(c.r)
	}
	payload, err := readPayload(c.r)
	if err != nil {
		return err
	}
	for i := range r.targets {
		t := &r.targets[i]
		for epoch := t.epoch; t.wanted && !t.sub.in.Deliver(epoch, &r.ch, payload); {
			epoch, t.wanted = s.stillWanted(t.sub, r.ch)
		}
	}
	return nil
}

// route returns where a message goes. It remembers that until something changes, so
// that most messages need no lock.
func (s *subscriber) route(f *frame) *route {
	if turn := s.turn.Load(); turn != s.routed {
		clear(s.exact)
		clear(s.patterned)
		s.routed = turn
	}
	routes := s.exact
	if f.kind == framePMessage {
		routes = s.patterned
	}
	r := routes[string(f.name)]
	if r == nil {
		r = s.find(f)
		if len(f.name) > longestKept {
			return r
		}
		if len(routes) >= routesKept {
			clear(routes)
		}
		routes[string(f.name)] = r
	}
	return r
}

// find finds out for which subscriptions a message is.
//
// What matches both a name and a pattern comes twice from the server, first for the
// name and directly afterwards for the pattern, since no name matches two patterns
// of ours. If the pattern is live the second frame is for everybody and the first
// for nobody; this is decided from the order of frames alone, so a filter that comes
// or goes between the two neither doubles nor loses the message.
func (s *subscriber) find(f *frame) *route {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &route{}
	exact := s.reg.entries[string(f.name)]
	if f.kind == framePMessage {
		pattern := s.reg.entries[string(f.pattern)]
		if pattern == nil {
			return r
		}
		var ok bool
		if r.ch, ok = s.names.parse(string(f.name)); !ok {
			return r // somebody else's idea of a name under our pattern
		}
		r.aim(pattern.subs, nil)
		if exact != nil {
			r.aim(exact.subs, pattern)
		}
		return r
	}
	if exact != nil {
		if r.ch = exact.filter.Channel(); !s.covered(r.ch) {
			r.aim(exact.subs, nil)
		}
	}
	return r
}

// aim adds subscriptions to the targets, but not those that have the entry except.
func (r *route) aim(subs []*subscription, except *entry) {
	for _, u := range subs {
		if u.down || except != nil && u.filters[except.filter] != nil {
			continue
		}
		r.targets = append(r.targets, target{sub: u, epoch: u.in.Epoch()})
	}
}

// stillWanted looks again after a filter of the subscription's has gone.
func (s *subscriber) stillWanted(u *subscription, ch broker.Channel) (epoch uint64, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return u.in.Epoch(), u.matches(ch)
}

// covered reports whether a live pattern also matches ch.
func (s *subscriber) covered(ch broker.Channel) bool {
	if len(s.reg.rooms) == 0 {
		return false
	}
	switch ch.Kind() {
	case broker.KindRoom, broker.KindBroadcast:
		e := s.reg.rooms[ch.Wire().Broadcast(ch.Namespace())]
		return e != nil && (e.phase == live || e.phase == leaving)
	}
	return false
}

// close ends all subscriptions for good and returns what to wait for.
func (s *subscriber) close() []<-chan struct{} {
	s.mu.Lock()
	s.closed = true
	subs := make([]*subscription, 0, len(s.reg.subs))
	for u := range s.reg.subs {
		subs = append(subs, u)
	}
	for r := range s.reg.asking {
		s.reg.fail(r, broker.ErrClosed)
	}
	s.mu.Unlock()
	waits := make([]<-chan struct{}, 0, len(subs))
	for _, u := range subs {
		s.drop(u)
		waits = append(waits, u.in.Done())
	}
	return waits
}

// fill writes the counters of subscribing into st.
func (s *subscriber) fill(st *broker.Stats) {
	s.counts.Fill(st)
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Subscriptions = s.reg.active()
}

// errNoReceiver refuses a Subscribe without a receiver.
var errNoReceiver = errors.New("redis broker: no receiver")
