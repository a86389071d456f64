package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

// lane is the way to one master of a spread, or home. It implements brokerkit.Connector.
type lane struct {
	spread *spread
	addr   string // empty: home
	out    *outbox
	pub    *publisher
	look   bool // home: the list of slots is out of date; used by the sender only
}

func (p *spread) newLane(addr string) *lane {
	l := &lane{spread: p, addr: addr}
	server := &only{nodes: p.slots.nodes, slots: p.slots, addr: addr, use: forPublishing}
	l.pub = &publisher{nodes: p.slots.nodes, server: server, opts: p.opts, log: p.opts.conns, refused: l.refused}
	l.out = newOutbox(p.names, p.opts, l)
	l.pub.out = l.out
	for _, h := range p.hooks {
		h.stops = append(h.stops, l.out.OnLoss(h.f))
	}
	return l
}

func (l *lane) put(ctx context.Context, m *message) error {
	return l.out.Put(ctx, brokerkit.Size{Payload: m.payload, Wire: len(m.wire)}, m, func(buf []byte) []byte { return append(buf, m.wire...) })
}

func (l *lane) settled() uint64 {
	_, settled := l.out.Progress()
	return settled
}

func (l *lane) addTo(s *broker.Stats) {
	var one broker.Stats
	l.out.Fill(&one)
	s.Accepted += one.Accepted
	s.Sent += one.Sent
	s.Lost += one.Lost
	s.Uncertain += one.Uncertain
	s.QueuedMessages += one.QueuedMessages
	s.QueuedBytes += one.QueuedBytes
}

// Connect implements brokerkit.Connector.
func (l *lane) Connect(ctx context.Context) (brokerkit.Connection, error) {
	slots := l.spread.slots
	table, _ := slots.now()
	if l == l.spread.home {
		if l.look || table == nil {
			if err := slots.await(ctx); err != nil {
				return nil, err
			}
		}
		return &forwarder{lane: l}, nil
	}
	if table != nil && !table.serves(l.addr) {
		return &forwarder{lane: l}, nil
	}
	return l.pub.Connect(ctx)
}

// refused returns the verdict on the next message of the lane, which its master has refused.
func (l *lane) refused(m *message, refused *ServerError) error {
	slot, addr, moved := movedTo(refused.Reply)
	if !moved || slot != m.slot {
		if refused.Code() == "CLUSTERDOWN" {
			l.spread.slots.refresh()
		}
		return refused
	}
	l.spread.slots.learn(slot, l.spread.slots.nodes.hosted(addr, l.addr))
	if err := l.spread.pass(m, l); err != nil {
		return fmt.Errorf("%w: %w", refused, err)
	}
	return brokerkit.ErrForwarded
}

// moveTime is how long messages whose slot has moved wait, so that subscribers can move first.
const moveTime = 50 * time.Millisecond

// forwarder is the connection of a lane whose messages belong into other lanes: of home, or of a master that serves no
// slots. It implements brokerkit.Connection and brokerkit.Writer.
type forwarder struct {
	lane *lane
	err  error
}

// Serve implements brokerkit.Connection.
func (f *forwarder) Serve(ctx context.Context, outage time.Duration) error {
	out := f.lane.out
	out.AwaitReturn(ctx, max(outage, moveTime), nil, nil)
	out.Send(f, func() bool { return false })
	f.lane.look = f.err != nil
	return f.err
}

// Write implements brokerkit.Writer. It settles what it has passed on.
func (f *forwarder) Write(b *brokerkit.Batch[*message]) (n int, err error) {
	l := f.lane
	for m := range b.All() {
		var verdict error
		if age := l.spread.opts.QueueAge; age > 0 && time.Since(m.born) > age {
			verdict = ErrTooOld
		} else if verdict = l.spread.pass(m, l); verdict == nil {
			verdict = brokerkit.ErrForwarded
		} else if verdict != errTwice {
			f.err = verdict
			return n, verdict
		}
		l.out.Settle(1, func(*message) error { return verdict })
		n++
	}
	return n, nil
}

// all returns every lane.
func (p *spread) all() []*lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []*lane{p.home}
	for _, l := range p.lanes {
		list = append(list, l)
	}
	return list
}

// Flush implements sending.
func (p *spread) Flush(ctx context.Context) error {
	if p.isClosed() {
		return broker.ErrClosed
	}
	return p.flush(ctx, &losses{})
}

// flush waits until everything accepted before has been settled, in whatever lane it is by then.
func (p *spread) flush(ctx context.Context, lost *losses) error {
	for {
		before := p.forwarded.Load()
		late := p.each(ctx, lost, func(l *lane) error { return l.out.Flush(ctx) })
		if late != nil || p.forwarded.Load() == before {
			return lifecycle.Join(lost.err(), late)
		}
	}
}

// each calls f for all lanes at once. It adds their losses to lost, and returns the context's error if that ended one.
func (p *spread) each(ctx context.Context, lost *losses, f func(*lane) error) (late error) {
	lanes := p.all()
	errs := make([]error, len(lanes))
	var all sync.WaitGroup
	for i, l := range lanes {
		all.Go(func() { errs[i] = f(l) })
	}
	all.Wait()
	for _, err := range errs {
		if loss, ok := errors.AsType[*broker.LossError](err); ok {
			lost.add(loss)
		}
		if end := ctx.Err(); end != nil && errors.Is(err, end) {
			late = end
		}
	}
	return late
}

// Close implements sending.
func (p *spread) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	var lost losses
	_ = p.flush(ctx, &lost) // what it did not wait for is in the results below
	late := p.each(ctx, &lost, func(l *lane) error { return l.out.Close(ctx) })
	p.cancel()
	p.works.Wait()
	return lifecycle.Join(lost.err(), late)
}

// losses are the losses of several lanes.
type losses struct{ all *broker.LossError }

func (l *losses) add(e *broker.LossError) {
	if l.all == nil {
		l.all = &broker.LossError{}
	}
	l.all.Messages += e.Messages
	l.all.Bytes += e.Bytes
	l.all.Uncertain = l.all.Uncertain || e.Uncertain
	l.all.Err = e.Err
}

func (l *losses) err() error {
	if l.all == nil {
		return nil
	}
	return l.all
}

// hook is a function given to OnLoss.
type hook struct {
	f     func(broker.Loss)
	stops []func()
}

// OnLoss implements sending.
func (p *spread) OnLoss(f func(broker.Loss)) (stop func()) {
	h := &hook{f: func(loss broker.Loss) {
		p.calling.Lock()
		defer p.calling.Unlock()
		f(loss)
	}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hooks = append(p.hooks, h)
	for _, l := range append(slices.Collect(maps.Values(p.lanes)), p.home) {
		h.stops = append(h.stops, l.out.OnLoss(h.f))
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hooks = slices.DeleteFunc(p.hooks, func(other *hook) bool { return other == h })
		for _, stop := range h.stops {
			stop()
		}
	}
}

// Fill implements sending.
func (p *spread) Fill(s *broker.Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Accepted, s.Sent, s.Lost, s.Uncertain = p.past.Accepted, p.past.Sent, p.past.Lost, p.past.Uncertain
	p.home.addTo(s)
	for _, l := range p.lanes {
		l.addTo(s)
	}
	for l := range p.leaving {
		l.addTo(s)
	}
}
