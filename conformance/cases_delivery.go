package conformance

import (
	"context"
	"fmt"
	"sync"

	"github.com/crossroom/crossroom/broker"
)

var deliveryCases = []Case{
	{Name: "B01_Live", Clauses: []Clause{1}, run: caseLive},
	{Name: "B01_ManyFilters", Clauses: []Clause{1}, run: caseManyFilters},
	{Name: "B01_NoFilters", Clauses: []Clause{1}, run: caseNoFilters},
	{Name: "B01_LiveOnSlowLink", Clauses: []Clause{1, 2}, Needs: CanSlowLink, Timing: true, run: caseSlowLink},
	{Name: "B02_Order", Clauses: []Clause{2, 1, 3}, run: caseOrder},
	{Name: "B25_OrderAcrossChannels", Clauses: []Clause{25}, run: caseOrderAcross},
	{Name: "B03_Once", Clauses: []Clause{3, 13}, run: caseOnce},
	{Name: "B04_Exact", Clauses: []Clause{4}, run: caseExact},
	{Name: "B10_Own", Clauses: []Clause{10}, run: caseOwn},
}

var native, socketIO = broker.Native, broker.SocketIO

// caseLive publishes once, directly after Subscribe or Add returned, many times. A filter that becomes live a little
// late misses some of these messages.
func caseLive(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	for i := range 100 {
		ns := fmt.Sprintf("/live%d", i)
		filter, ch := broker.Exactly(native.Room(ns, "r")), native.Room(ns, "r")
		if i%2 == 1 {
			filter = native.EveryRoom(ns)
		}
		s, err := e.subscribe(ctx, b, filter)
		if err != nil {
			return err
		}
		if err := e.one(ctx, s, a, ch); err != nil {
			return err
		}
		added := socketIO.Requests(ns)
		if err := s.add(ctx, broker.Exactly(added)); err != nil {
			return err
		}
		if err := e.one(ctx, s, a, added); err != nil {
			return err
		}
		if err := e.one(ctx, s, b, added); err != nil { // the node's own message too
			return err
		}
		if err := s.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

// one publishes one message on a new stream and expects its arrival.
func (e *env) one(ctx context.Context, s *sub, from *Node, ch broker.Channel) error {
	st := e.from(from, ch)
	if err := st.must(ctx, 1); err != nil {
		return err
	}
	return s.all(ctx, 1, st)
}

func caseManyFilters(ctx context.Context, e *env) error {
	const n = 5000
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	filters := make([]broker.Filter, n)
	for i := range filters {
		filters[i] = broker.Exactly(native.Room("/many", fmt.Sprint("room-", i)))
	}
	s, err := e.subscribe(ctx, b, filters[:n/2]...)
	if err != nil {
		return err
	}
	if err := s.add(ctx, filters[n/2-10:]...); err != nil { // some of them again
		return err
	}
	streams := make([]*stream, n)
	for i, f := range filters {
		streams[i] = e.from(a, f.Channel())
		if err := streams[i].must(ctx, 1); err != nil {
			return err
		}
		if i%200 == 199 { // do not overtake the receiver
			if err := s.all(ctx, 1, streams[i]); err != nil {
				return err
			}
		}
	}
	if err := s.all(ctx, 1, streams...); err != nil {
		return err
	}
	if err := s.remove(ctx, filters[1:]...); err != nil {
		return err
	}
	for i := 1; i < n; i += 97 {
		if err := streams[i].must(ctx, 1); err != nil {
			return err
		}
	}
	if err := streams[0].must(ctx, 1); err != nil {
		return err
	}
	return s.all(ctx, 12, streams[0])
}

func caseNoFilters(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	s, err := e.subscribe(ctx, b)
	if err != nil {
		return err
	}
	if err := e.from(a, native.Room("/none", "r")).must(ctx, 1); err != nil {
		return err
	}
	if err := s.add(ctx); err != nil {
		return err
	}
	if err := s.add(ctx, native.EveryRoom("/none")); err != nil {
		return err
	}
	return e.one(ctx, s, a, native.Room("/none", "r"))
}

func caseSlowLink(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if err := b.SlowLink(ctx, shortWait/2); err != nil {
		return setup("slowing a link", err)
	}
	for i := range 10 {
		ns := fmt.Sprint("/slow", i)
		s, err := e.subscribe(ctx, b, native.EveryRoom(ns), broker.Exactly(native.Requests(ns)))
		if err != nil {
			return err
		}
		for _, ch := range []broker.Channel{native.Requests(ns), native.Room(ns, "r")} {
			st := e.from(a, ch)
			if err := st.must(ctx, 20); err != nil {
				return err
			}
			if err := s.all(ctx, 1, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// caseOrder makes several nodes publish ten thousand messages at the same time. One receiver has an exact filter, one
// EveryRoom and one both.
func caseOrder(ctx context.Context, e *env) error {
	const publishers, each = 4, 2500
	room := native.Room("/order", "r")
	watcher, err := e.node(ctx)
	if err != nil {
		return err
	}
	var subs []*sub
	for _, filters := range [][]broker.Filter{
		{broker.Exactly(room)},
		{native.EveryRoom("/order")},
		{broker.Exactly(room), native.EveryRoom("/order")},
	} {
		s, err := e.subscribe(ctx, watcher, filters...)
		if err != nil {
			return err
		}
		subs = append(subs, s)
	}
	streams := make([]*stream, publishers)
	for i := range streams {
		n, err := e.node(ctx)
		if err != nil {
			return err
		}
		streams[i] = e.from(n, room)
	}
	if err := inParallel(publishers, func(i int) error { return streams[i].must(ctx, each, subs...) }); err != nil {
		return err
	}
	for _, s := range subs {
		if err := s.all(ctx, 2, streams...); err != nil {
			return err
		}
	}
	return nil
}

// inParallel calls f concurrently for 0 to n-1, and returns the first error.
func inParallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func caseOrderAcross(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	if !a.Broker.Capabilities().OrderAcrossChannels {
		return skip("the broker does not claim OrderAcrossChannels")
	}
	channels := []broker.Channel{native.Broadcast("/x"), native.Room("/x", "1"), native.Room("/x", "2"),
		native.Requests("/x"), socketIO.Room("/x", "1"), native.Room("/y", "1"), broker.Control()}
	s, err := e.subscribe(ctx, b, native.EveryRoom("/x"), broker.Exactly(native.Requests("/x")),
		broker.Exactly(socketIO.Room("/x", "1")), native.EveryRoom("/y"), broker.Exactly(broker.Control()))
	if err != nil {
		return err
	}
	s.rec.expectRaw()
	const n = 490
	for i := range n {
		ch := channels[i%len(channels)]
		if err := a.Broker.Publish(ctx, ch, fmt.Append(nil, i)); err != nil {
			return publishFailed(ch, err)
		}
	}
	last := channels[(n-1)%len(channels)]
	marker := e.from(a, last)
	if err := marker.must(ctx, 1); err != nil {
		return err
	}
	if err := s.all(ctx, 1, marker); err != nil {
		return err
	}
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	for i, m := range s.rec.raw {
		if string(m.payload) != fmt.Sprint(i) {
			return fail(25, "OrderAcrossChannels is claimed, and message %s on %v arrived in place %d", m.payload, m.ch, i)
		}
	}
	if len(s.rec.raw) != n {
		return fail(25, "OrderAcrossChannels is claimed, and only %d of %d messages arrived before the last one", len(s.rec.raw), n)
	}
	return nil
}

func caseOnce(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	room, all := broker.Exactly(native.Room("/once", "r")), native.EveryRoom("/once")
	everybody := broker.Exactly(native.Broadcast("/once"))
	requests, uncounted := broker.Exactly(native.Requests("/once")), native.Uncounted("/once")
	s, err := e.subscribe(ctx, b, room, all, room, everybody, all, requests, uncounted)
	if err != nil {
		return err
	}
	other, err := e.subscribe(ctx, b, all, uncounted) // another subscription gets a copy of its own
	if err != nil {
		return err
	}
	if err := s.add(ctx, all, room); err != nil {
		return err
	}
	for _, ch := range []broker.Channel{room.Channel(), everybody.Channel(), requests.Channel()} {
		for _, n := range []*Node{a, b} {
			st := e.from(n, ch)
			if err := st.must(ctx, 200, s, other); err != nil {
				return err
			}
			if err := s.all(ctx, 1, st); err != nil {
				return err
			}
			if err := other.all(ctx, 1, st); err != nil {
				return err
			}
			// A second copy may take a longer route: allow the time of one more message.
			if err := st.must(ctx, 1); err != nil {
				return err
			}
			if err := s.all(ctx, 1, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// caseExact sends bytes that could confuse a text protocol.
func caseExact(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := socketIO.Requests("/exact")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	s.rec.expectRaw()
	every := make([]byte, 512)
	for i := range every {
		every[i] = byte(i)
	}
	payloads := [][]byte{every, []byte("\r\n"), []byte("$5\r\nhello\r\n"), []byte("+OK\r\n"), {0}, {0, 0, 0}, {0xFF},
		[]byte("\xc3\x28 not UTF-8"), []byte("PING\r\n"), []byte("-ERR no\r\n"), []byte(`{"json":true}`), []byte("  spaces  "),
		[]byte("\ufeffbyte order mark"), []byte("*?[a-z]\\"), []byte("MSG x 1 5\r\n")}
	for _, p := range payloads {
		if err := a.Broker.Publish(ctx, ch, p); err != nil {
			return publishFailed(ch, err)
		}
	}
	marker := e.from(a, ch)
	if err := marker.must(ctx, 1); err != nil {
		return err
	}
	if err := s.all(ctx, 1, marker); err != nil {
		return err
	}
	return s.wantRaw(4, ch, payloads...)
}

// wantRaw reports whether exactly these payloads have arrived, in order.
func (s *sub) wantRaw(clause Clause, ch broker.Channel, payloads ...[]byte) error {
	s.rec.mu.Lock()
	defer s.rec.mu.Unlock()
	if len(s.rec.raw) != len(payloads) {
		return fail(clause, "%d messages were published on %v and %d arrived before the one after them",
			len(payloads), ch, len(s.rec.raw))
	}
	for i, p := range payloads {
		got := s.rec.raw[i]
		if string(got.payload) != string(p) || got.ch != ch {
			return fail(clause, "published %.60q (%d bytes) on %v, and %.60q (%d bytes) arrived on %v",
				p, len(p), ch, got.payload, len(got.payload), got.ch)
		}
	}
	return nil
}

func caseOwn(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Broadcast("/own")
	var subs []*sub
	for _, n := range []*Node{a, b} {
		s, err := e.subscribe(ctx, n, native.EveryRoom("/own"))
		if err != nil {
			return err
		}
		subs = append(subs, s)
	}
	streams := []*stream{e.from(a, ch), e.from(b, ch)}
	if err := inParallel(2, func(i int) error { return streams[i].must(ctx, 500, subs...) }); err != nil {
		return err
	}
	for _, s := range subs {
		if err := s.all(ctx, 10, streams...); err != nil {
			return err
		}
	}
	return nil
}
