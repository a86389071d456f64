package memorybroker

import (
	"context"
	"sync"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// subscription has one receiver, its queue and the goroutine between them.
type subscription struct {
	b    *Broker
	r    broker.Receiver
	done chan struct{} // closed when the goroutine has ended

	// Written under both Bus.mu and mu: reading needs only one of them.
	filters map[broker.Filter]*route
	everies int // how many of them are not Exactly

	mu       sync.Mutex
	work     sync.Cond // on mu: the queue is not empty, or stopped or thawed
	queue    ring[item]
	bytes    int  // of payload in the queue
	cut      bool // nothing comes in
	frozen   bool // nothing goes out
	stopped  bool
	dropping bool          // overflowed, and not yet half empty again
	room     chan struct{} // closed when a full queue has room; nil if nobody waits
	running  *item         // the Deliver call that is running; nil if none
	idle     chan struct{} // closed when it has returned; nil if nobody waits

	// When Interrupted was called, zero if Resumed was since. The goroutine writes
	// it under mu.
	interrupted time.Time
}

// item is a message or, if gap is not nil, a place where messages are missing.
type item struct {
	ch      broker.Channel
	payload []byte
	route   *route // through which it came; nil: removed, to be passed over
	gap     *gap
}

func newSubscription(b *Broker, r broker.Receiver) *subscription {
	s := &subscription{b: b, r: r, done: make(chan struct{})}
	s.work.L = &s.mu
	return s
}

// mixed says that a message may match two filters. Bus.mu or mu is held.
func (s *subscription) mixed() bool { return s.everies > 0 && len(s.filters) > s.everies }

// cover returns a filter's route that selects ch, nil if none does. Bus.mu or mu is
// held.
func (s *subscription) cover(ch broker.Channel) *route {
	if rt := s.filters[broker.Exactly(ch)]; rt != nil {
		return rt
	}
	if s.everies == 0 {
		return nil
	}
	switch ch.Kind() {
	case broker.KindBroadcast, broker.KindRoom:
		return s.filters[ch.Protocol().EveryRoom(ch.Namespace())]
	case broker.KindRequests:
		return s.filters[ch.Protocol().Uncounted(ch.Namespace())]
	}
	return nil
}

// purge passes messages that came through removed filters on to filters that select
// them too, and takes the others out of the queue, for good: adding the filter again
// does not bring them back. mu is held.
func (s *subscription) purge() {
	s.queue.each(func(it *item) {
		if it.route == nil || !it.route.removed {
			return
		}
		if it.route = s.cover(it.ch); it.route == nil {
			s.bytes -= len(it.payload)
			*it = item{}
		}
	})
}

// offer puts a message into the queue, or counts it as missed if there is no room.
// A patient caller gets false instead and may wait. Bus.mu is held unless impatient.
func (s *subscription) offer(rt *route, ch broker.Channel, payload []byte, patient bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(rt, ch, payload, patient)
}

// offerOrRoom is a patient offer; if it says false, the channel will be closed when
// it is time to try again.
func (s *subscription) offerOrRoom(rt *route, ch broker.Channel, payload []byte) (<-chan struct{}, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.put(rt, ch, payload, true) {
		return nil, true
	}
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room, false
}

func (s *subscription) put(rt *route, ch broker.Channel, payload []byte, patient bool) bool {
	if rt.removed { // while the publisher waited
		rt = s.cover(ch)
	}
	if s.cut || s.stopped || rt == nil {
		return true
	}
	opts := &s.b.bus.opts
	if !s.dropping && s.queue.len() > 0 &&
		(s.queue.len() >= opts.QueueMessages || s.bytes+len(payload) > opts.QueueBytes) {
		if patient && !s.frozen {
			return false
		}
		s.dropping = true
	}
	if s.dropping {
		g := s.lastGap()
		g.over = true
		g.lost.Messages++
		g.lost.Bytes += len(payload)
		return true
	}
	s.queue.push(item{ch: ch, payload: payload, route: rt})
	s.bytes += len(payload)
	if s.queue.len() == 1 {
		s.work.Signal()
	}
	return true
}

func (s *subscription) freeze(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = on
	s.work.Signal()
	s.releaseRoom()
}

// stop ends the goroutine as soon as the running call returns. mu is held.
func (s *subscription) stop() {
	s.stopped = true
	s.queue.clear()
	s.bytes = 0
	s.work.Signal()
	s.releaseRoom()
}

func (s *subscription) releaseRoom() {
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// run is the subscription's goroutine.
func (s *subscription) run() {
	defer close(s.done)
	defer s.b.forget(s)
	defer s.outageOver()
	var it item
	for s.next(&it) {
		if it.gap != nil {
			s.tell(it.gap)
			continue
		}
		s.b.received.Add(1)
		s.r.Deliver(it.ch, it.payload)
	}
}

// next ends the call for the item before and waits for another.
func (s *subscription) next(it *item) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
	*it = item{} // let go of the payload
	if s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
	for {
		if s.stopped {
			return false
		}
		if s.frozen || s.queue.len() == 0 {
			s.work.Wait()
			continue
		}
		*it = s.queue.pop()
		s.bytes -= len(it.payload)
		s.makeRoom()
		if it.gap != nil {
			return true
		}
		if it.route != nil {
			s.running = it
			return true
		}
	}
}

// makeRoom lets in those who wait for room. Not for every single place in the
// queue: each time would wake all of them for one.
func (s *subscription) makeRoom() {
	if s.room == nil && !s.dropping {
		return
	}
	opts := &s.b.bus.opts
	n, b := s.queue.len(), s.bytes
	if n <= opts.QueueMessages*3/4 && b <= opts.QueueBytes*3/4 {
		s.releaseRoom()
	}
	if n <= opts.QueueMessages/2 && b <= opts.QueueBytes/2 {
		s.dropping = false
	}
}

// Add implements broker.Subscription.
func (s *subscription) Add(ctx context.Context, filters ...broker.Filter) error {
	return s.b.subscribe(ctx, s, filters)
}

// Remove implements broker.Subscription. If ctx ends while it waits for a running
// call of the receiver, the filters are gone all the same.
func (s *subscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	if s.isStopped() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.b.bus.remove(s, filters)

	s.mu.Lock()
	if s.running == nil || s.cover(s.running.ch) != nil {
		s.mu.Unlock()
		return nil
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *subscription) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// Close implements broker.Subscription. If ctx ends while it waits for a running
// call of the receiver, that call will be the last.
func (s *subscription) Close(ctx context.Context) error {
	s.b.bus.removeAll(s)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
