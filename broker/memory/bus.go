package memorybroker

import (
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Bus carries messages between the brokers made from it. It has no goroutines and
// needs no closing. Safe for concurrent use.
//
// Lock order: Broker.mu, Bus.mu, subscription.mu. None is held while a receiver or
// another function of the user runs.
type Bus struct {
	opts Options

	mu    sync.RWMutex
	exact [broker.KindControl + 1]map[broker.Channel][]*route // by kind
	every map[space][]*route
	// uncounted filters by their request channels; there are few, and only for moments.
	uncounted map[broker.Channel][]*route
}

// space is what an EveryRoom filter selects.
type space struct {
	protocol broker.Protocol
	ns       string
}

// route is one filter of one subscription.
type route struct {
	sub     *subscription
	filter  broker.Filter
	pos     int  // in the bus's list; guarded by Bus.mu
	removed bool // guarded by subscription.mu
}

// NewBus makes a bus; nil options mean defaults.
func NewBus(opts *Options) *Bus {
	bus := &Bus{opts: opts.withDefaults(), every: map[space][]*route{}, uncounted: map[broker.Channel][]*route{}}
	for k := range bus.exact {
		bus.exact[k] = map[broker.Channel][]*route{}
	}
	return bus
}

// Broker makes a place for one more node. Close it when done. (One that never
// subscribed and was never cut or frozen has nothing to leave behind.)
func (bus *Bus) Broker() *Broker { return newBroker(bus) }

// New makes a broker on a bus of its own.
func New(opts *Options) *Broker { return NewBus(opts).Broker() }

// publish hands a message to every matching subscription, waiting for slow ones as
// the options say. It ends its wait when done or stop does. It copies the payload
// unless owned says that it need not.
func (bus *Bus) publish(ch broker.Channel, payload []byte, owned bool, done, stop <-chan struct{}) {
	var slow []*route

	bus.mu.RLock()
	exact := bus.exact[ch.Kind()][ch]
	var every []*route
	if k := ch.Kind(); k == broker.KindBroadcast || k == broker.KindRoom {
		every = bus.every[space{ch.Protocol(), ch.Namespace()}]
	} else if k == broker.KindRequests && len(bus.uncounted) > 0 {
		every = bus.uncounted[ch]
	}
	if !owned && len(exact)+len(every) > 0 {
		p := make([]byte, len(payload))
		copy(p, payload)
		payload = p
	}
	patient := bus.opts.SlowReceiver > 0
	for _, rt := range exact {
		if !rt.sub.offer(rt, ch, payload, patient) {
			slow = append(slow, rt)
		}
	}
	for _, rt := range every {
		// A subscription with both kinds of filter already has it: once only.
		if len(exact) > 0 && rt.sub.mixed() && rt.sub.filters[broker.Exactly(ch)] != nil {
			continue
		}
		if !rt.sub.offer(rt, ch, payload, patient) {
			slow = append(slow, rt)
		}
	}
	bus.mu.RUnlock()

	if slow == nil {
		return
	}
	timer := time.NewTimer(bus.opts.SlowReceiver)
	defer timer.Stop()
	for _, rt := range slow {
		for patient {
			room, ok := rt.sub.offerOrRoom(rt, ch, payload)
			if ok {
				break
			}
			select {
			case <-room:
			case <-timer.C:
				patient = false
			case <-done:
				patient = false
			case <-stop:
				patient = false
			}
		}
		if !patient {
			rt.sub.offer(rt, ch, payload, false)
		}
	}
}

// add makes filters live. Bus.mu is taken; the caller holds Broker.mu.
func (bus *Bus) add(s *subscription, filters []broker.Filter) {
	bus.mu.Lock()
	defer bus.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filters == nil {
		s.filters = make(map[broker.Filter]*route, len(filters))
	}
	for _, f := range filters {
		if s.filters[f] != nil {
			continue
		}
		f = f.Clone() // the caller's names may be parts of something large
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

// remove ends filters. Messages that came in through them and that no other filter
// selects will not be delivered any more.
func (bus *Bus) remove(s *subscription, filters []broker.Filter) {
	bus.mu.Lock()
	defer bus.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range filters {
		if rt := s.filters[f]; rt != nil {
			bus.drop(rt)
		}
	}
	s.purge()
}

// removeAll ends every filter of s and s itself.
func (bus *Bus) removeAll(s *subscription) {
	bus.mu.Lock()
	defer bus.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rt := range s.filters {
		bus.drop(rt)
	}
	s.stop()
}

// drop forgets a route. Both locks are held.
func (bus *Bus) drop(rt *route) {
	s, f := rt.sub, rt.filter
	rt.removed = true
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

// responders lists the names of node response channels that reachable brokers hold.
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
