package memorybroker

import (
	"context"
	"sync"

	"github.com/crossroom/crossroom/broker"
)

// Bus carries messages between the brokers made from it. It has no goroutines and needs no closing. It is safe for
// concurrent use.
type Bus struct {
	opts Options

	// Lock order: Broker.queueing, Broker.mu, Bus.mu, and the inboxes' own. None is held while a receiver or another
	// function of the user runs.
	mu    sync.RWMutex
	exact [broker.KindControl + 1]map[broker.Channel][]*route // by kind
	every map[space][]*route
	// filters of Uncounted by their request channels. There are few, and only for moments.
	uncounted map[broker.Channel][]*route
}

// space holds the EveryRoom filters of a namespace.
type space struct {
	protocol broker.Protocol
	ns       string
}

// route is one filter of one subscription.
type route struct {
	sub    *subscription
	filter broker.Filter
	pos    int // index in the bus's list; guarded by Bus.mu
}

// NewBus makes a bus. Nil options mean the defaults.
func NewBus(opts *Options) *Bus {
	bus := &Bus{opts: opts.withDefaults(), every: map[space][]*route{}, uncounted: map[broker.Channel][]*route{}}
	for k := range bus.exact {
		bus.exact[k] = map[broker.Channel][]*route{}
	}
	return bus
}

// Broker makes the broker of one more node. Close it when done. A broker that made no subscription and had no fault
// holds no resources, so a test need not close it.
func (bus *Bus) Broker() *Broker { return newBroker(bus) }

// New makes a broker on a bus of its own.
func New(opts *Options) *Broker { return NewBus(opts).Broker() }

// publish passes a copy of a message to every matching subscription. It waits for slow ones as the options allow, and
// until ctx ends.
func (bus *Bus) publish(ctx, stopped context.Context, ch broker.Channel, payload []byte) {
	var slow []*subscription

	bus.mu.RLock()
	exact := bus.exact[ch.Kind()][ch]
	var every []*route
	if k := ch.Kind(); k == broker.KindBroadcast || k == broker.KindRoom {
		every = bus.every[space{ch.Protocol(), ch.Namespace()}]
	} else if k == broker.KindRequests && len(bus.uncounted) > 0 {
		every = bus.uncounted[ch]
	}
	if len(exact)+len(every) > 0 {
		p := make([]byte, len(payload))
		copy(p, payload)
		payload = p
	}
	for _, rt := range exact {
		if !rt.sub.offer(&ch, payload) {
			slow = append(slow, rt.sub)
		}
	}
	for _, rt := range every {
		// A subscription with both kinds of filter already has the message.
		if len(exact) > 0 && rt.sub.mixed() && rt.sub.filters[broker.Exactly(ch)] != nil {
			continue
		}
		if !rt.sub.offer(&ch, payload) {
			slow = append(slow, rt.sub)
		}
	}
	bus.mu.RUnlock()

	if slow != nil {
		bus.await(ctx, stopped, slow, ch, payload)
	}
}

// offer puts a message into the inbox, unless it would have to wait for room. The caller holds Bus.mu.
func (s *subscription) offer(ch *broker.Channel, payload []byte) bool {
	return s.cut || s.in.Offer(s.in.Epoch(), ch, payload)
}

// await puts a message into inboxes that were full. An inbox that has no room in time misses it.
func (bus *Bus) await(ctx, stopped context.Context, slow []*subscription, ch broker.Channel, payload []byte) {
	ctx, cancel := context.WithTimeout(ctx, bus.opts.SlowReceiver)
	defer cancel()
	defer context.AfterFunc(stopped, cancel)()
	for _, s := range slow {
		for {
			bus.mu.RLock()
			epoch, wanted := s.in.Epoch(), !s.cut && s.matches(ch)
			bus.mu.RUnlock()
			if !wanted || s.in.DeliverUntil(epoch, &ch, payload, ctx.Done()) {
				break
			}
		}
	}
}

// setCut interrupts a subscription because of err, or resumes it if err is nil.
func (bus *Bus) setCut(s *subscription, err error) {
	bus.mu.Lock()
	defer bus.mu.Unlock()
	s.cut = err != nil
	if err == nil {
		s.in.Resume()
		return
	}
	s.in.Retract(func(broker.Channel) bool { return true }) // waiting publishers match the filters again
	s.in.Interrupt(err)
}

// add makes filters live. It locks Bus.mu; the caller holds Broker.mu.
func (bus *Bus) add(s *subscription, filters []broker.Filter) {
	bus.mu.Lock()
	defer bus.mu.Unlock()
	for _, f := range filters {
		if s.filters[f] != nil {
			continue
		}
		f = f.Clone() // the caller's names may share memory with something large
		rt := &route{sub: s, filter: f}
		s.filters[f] = rt
		ch := f.Channel()
		switch {
		case f.IsEveryRoom():
			s.everies++
			key := space{ch.Protocol(), ch.Namespace()}
			rt.pos = len(bus.every[key])
			bus.every[key] = append(bus.every[key], rt)
			continue
		case f.IsUncounted():
			s.everies++
			rt.pos = len(bus.uncounted[ch])
			bus.uncounted[ch] = append(bus.uncounted[ch], rt)
			continue
		}
		routes := bus.exact[ch.Kind()][ch]
		rt.pos = len(routes)
		bus.exact[ch.Kind()][ch] = append(routes, rt)
	}
}

// remove removes filters, and the queued messages that no other filter selects. It returns a channel that is closed
// when no call for such a message is running; nil if none is.
func (bus *Bus) remove(s *subscription, filters []broker.Filter) <-chan struct{} {
	bus.mu.Lock()
	defer bus.mu.Unlock()
	for _, f := range filters {
		if rt := s.filters[f]; rt != nil {
			bus.drop(rt)
		}
	}
	return s.in.Retract(s.matches)
}

// removeAll removes every filter of s, and s itself.
func (bus *Bus) removeAll(s *subscription) {
	bus.mu.Lock()
	defer bus.mu.Unlock()
	for _, rt := range s.filters {
		bus.drop(rt)
	}
	s.in.Shut()
}

// drop removes a route. The caller holds mu.
func (bus *Bus) drop(rt *route) {
	s, f := rt.sub, rt.filter
	delete(s.filters, f)
	switch {
	case f.IsEveryRoom():
		s.everies--
		dropFrom(bus.every, space{f.Channel().Protocol(), f.Channel().Namespace()}, rt)
		return
	case f.IsUncounted():
		s.everies--
		dropFrom(bus.uncounted, f.Channel(), rt)
		return
	}
	dropFrom(bus.exact[f.Channel().Kind()], f.Channel(), rt)
}

func dropFrom[K comparable](m map[K][]*route, key K, rt *route) {
	routes := m[key]
	last := len(routes) - 1
	if last == 0 {
		delete(m, key)
		return
	}
	routes[rt.pos] = routes[last]
	routes[rt.pos].pos = rt.pos
	routes[last] = nil
	m[key] = routes[:last]
}

// subscribers counts the reachable brokers that hold Exactly(ch).
func (bus *Bus) subscribers(ch broker.Channel) int {
	bus.mu.RLock()
	defer bus.mu.RUnlock()
	routes := bus.exact[ch.Kind()][ch]
	if len(routes) == 1 && !routes[0].sub.b.unreachable.Load() {
		return 1
	}
	seen := make(map[*Broker]struct{}, len(routes))
	for _, rt := range routes {
		if !rt.sub.b.unreachable.Load() {
			seen[rt.sub.b] = struct{}{}
		}
	}
	return len(seen)
}

// responders lists the names of the node response channels that reachable brokers hold.
func (bus *Bus) responders(w broker.Protocol, ns string) []string {
	bus.mu.RLock()
	defer bus.mu.RUnlock()
	ids := []string{}
	for ch, routes := range bus.exact[broker.KindNodeResponses] {
		if ch.Protocol() != w || ch.Namespace() != ns {
			continue
		}
		for _, rt := range routes {
			if !rt.sub.b.unreachable.Load() {
				ids = append(ids, ch.Name())
				break
			}
		}
	}
	return ids
}
