package conformance

import (
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
)

var removeCases = []Case{
	{Name: "B11_Remove", Clauses: []Clause{11}, run: caseRemove},
	{Name: "B11_RemoveUnderLoad", Clauses: []Clause{11, 12}, Timing: true, run: caseRemoveUnderLoad},
	{Name: "B11_CloseUnderLoad", Clauses: []Clause{11, 12}, Timing: true, run: caseCloseUnderLoad},
	{Name: "B11_WaitsForRunningCall", Clauses: []Clause{11, 20}, Timing: true, run: caseRemoveWaits},
	{Name: "B12_OthersStay", Clauses: []Clause{12}, run: caseOthersStay},
	{Name: "B12_Overlapping", Clauses: []Clause{12, 3}, run: caseOverlapping},
	{Name: "B12_Exchange", Clauses: []Clause{12, 3, 2}, run: caseExchange},
	{Name: "B13_Again", Clauses: []Clause{13}, run: caseAgain},
}

func caseRemove(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	marker := native.Room("/stay", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(marker))
	if err != nil {
		return err
	}
	for _, f := range []broker.Filter{
		broker.Exactly(native.Room("/gone", "r")), native.EveryRoom("/gone"),
		broker.Exactly(socketIO.Requests("/gone")), broker.Exactly(broker.Control()), socketIO.Uncounted("/gone"),
	} {
		if err := s.add(ctx, f); err != nil {
			return err
		}
		if err := e.one(ctx, s, a, f.Channel()); err != nil {
			return err
		}
		if err := s.remove(ctx, f); err != nil {
			return err
		}
		if err := e.noDelivery(ctx, a, f.Channel(), b, s, marker); err != nil {
			return err
		}
	}
	// A closed subscription receives nothing, and may be closed again.
	if err := s.end(ctx); err != nil {
		return err
	}
	if err := s.end(ctx); err != nil {
		return err
	}
	return e.noDelivery(ctx, a, marker, b, nil, marker)
}

// load publishes on streams, in turn, until stopped; stop returns its error. It does not overtake paced, which must
// always select the first stream.
func load(ctx context.Context, streams []*stream, paced *sub) (stop func() error) {
	quit, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			for _, st := range streams {
				if err := st.must(ctx, 1); err != nil {
					done <- err
					return
				}
			}
			if n := streams[0].started.Load(); n%50 == 0 {
				if err := paced.expect(ctx, 1, streams[0], n-25); err != nil {
					done <- err
					return
				}
			}
			select {
			case <-quit:
				done <- nil
				return
			default:
			}
		}
	}()
	return func() error {
		close(quit)
		return <-done
	}
}

// caseRemoveUnderLoad removes and adds a filter again and again while messages arrive. At the start and the end of
// each call the recorder checks whether the filter is still active, and that the filter beside it misses nothing.
func caseRemoveUnderLoad(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	stay, come, every := native.Requests("/stay"), native.Requests("/come"), native.Room("/every", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(stay))
	if err != nil {
		return err
	}
	streams := []*stream{e.from(a, stay), e.from(a, come), e.from(a, every)}
	stop := load(ctx, streams, s)
	for i := range 100 {
		f := broker.Exactly(come)
		if i%2 == 1 {
			f = native.EveryRoom("/every")
		}
		if err = s.add(ctx, f); err != nil {
			break
		}
		// Messages are in flight: wait for one, so that the removal overlaps with others.
		before := s.count(streams[1+i%2])
		if err = s.await(ctx, 1, func() bool { return s.rec.track(streams[1+i%2].id).n > before }, nil, func() (string, []any) {
			return "no message arrived on %v after Add", []any{f}
		}); err != nil {
			break
		}
		if err = s.remove(ctx, f); err != nil {
			break
		}
	}
	return errors.Join(err, stop())
}

func caseCloseUnderLoad(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/load", "r")
	stay, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	st := e.from(a, ch)
	stop := load(ctx, []*stream{st}, stay)
	for i := range 50 {
		f := broker.Exactly(ch)
		if i%2 == 1 {
			f = native.EveryRoom("/load")
		}
		var s *sub
		if s, err = e.subscribe(ctx, b, f); err != nil {
			break
		}
		if err = s.await(ctx, 1, func() bool { return s.rec.track(st.id).n > 0 }, nil, func() (string, []any) {
			return "no message arrived on %v after Subscribe", []any{f}
		}); err != nil {
			break
		}
		if err = s.end(ctx); err != nil {
			break
		}
	}
	return errors.Join(err, stop())
}

// caseRemoveWaits calls Remove and Close while a call of the receiver for the removed filter is blocked. They must not
// return nil before that call returns.
func caseRemoveWaits(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch, other := native.Room("/wait", "r"), native.Room("/other", "r")
	for _, how := range []string{"Remove", "Close"} {
		s, err := e.subscribe(ctx, b, broker.Exactly(ch), broker.Exactly(other))
		if err != nil {
			return err
		}
		s.rec.holdUp()
		st := e.from(a, ch)
		if err := st.must(ctx, 1); err != nil {
			return err
		}
		if err := s.held(ctx); err != nil {
			return err
		}
		s.leaving(s.filters())
		call := func(ctx context.Context) error { return s.Remove(ctx, broker.Exactly(ch)) }
		if how == "Close" {
			call = s.Close
		}
		switch err := ends(ctx, how, call); {
		case err == nil:
			return fail(11, "%s returned nil during a call of the receiver for the removed filter", how)
		case !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		s.rec.letGo()
		// The second attempt is not disturbed.
		if how == "Remove" {
			if err := s.remove(ctx, broker.Exactly(ch)); err != nil {
				return err
			}
		}
		if err := s.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

// caseOthersStay removes filters and closes subscriptions beside others that hold the same channels, on the same node
// and on another, while messages arrive.
func caseOthersStay(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	one, two := native.Room("/stay", "1"), native.Room("/stay", "2")
	s, err := e.subscribe(ctx, b, broker.Exactly(one))
	if err != nil {
		return err
	}
	remote, err := e.subscribe(ctx, a, native.EveryRoom("/stay"))
	if err != nil {
		return err
	}
	streams := []*stream{e.from(a, one), e.from(a, two)}
	stop := load(ctx, streams, s)
	for range 30 {
		if err = func() error {
			beside, err := e.subscribe(ctx, b, broker.Exactly(one), broker.Exactly(two))
			if err != nil {
				return err
			}
			every, err := e.subscribe(ctx, b, native.EveryRoom("/stay"))
			if err != nil {
				return err
			}
			if err := beside.remove(ctx, broker.Exactly(one)); err != nil {
				return err
			}
			if err := every.remove(ctx, native.EveryRoom("/stay")); err != nil {
				return err
			}
			if err := beside.end(ctx); err != nil {
				return err
			}
			return every.end(ctx)
		}(); err != nil {
			break
		}
	}
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	if err := s.all(ctx, 12, streams[0]); err != nil {
		return err
	}
	return remote.all(ctx, 12, streams...)
}

// caseOverlapping removes one of two filters that both select a channel.
func caseOverlapping(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err == nil {
		err = needsPatterns(b)
	}
	if err != nil {
		return err
	}
	if err := e.overlap(ctx, a, b, native.Room("/over", "r"), native.EveryRoom("/over")); err != nil {
		return err
	}
	return e.overlap(ctx, a, b, socketIO.Requests("/over"), socketIO.Uncounted("/over"))
}

func (e *env) overlap(ctx context.Context, a, b *Node, room broker.Channel, every broker.Filter) error {
	exact := broker.Exactly(room)
	s, err := e.subscribe(ctx, b, exact, every)
	if err != nil {
		return err
	}
	st := e.from(a, room)
	stop := load(ctx, []*stream{st}, s)
	for i := range 40 {
		f := exact
		if i%2 == 1 {
			f = every
		}
		if err = s.remove(ctx, f); err != nil {
			break
		}
		seen := st.started.Load() + 1 // the Publish call of this message has not begun
		if err = s.await(ctx, 12, func() bool { return s.rec.track(st.id).last >= seen }, nil, func() (string, []any) {
			return "no message arrived on %v, which another filter selects too, after %v was removed", []any{room, f}
		}); err != nil {
			break
		}
		if err = s.add(ctx, f); err != nil {
			break
		}
	}
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	return s.all(ctx, 12, st)
}

// caseExchange exchanges the filter that selects every room for filters of single channels, and back, while messages
// arrive on these and on a channel that only the former selects.
func caseExchange(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err == nil {
		err = needsPatterns(b)
	}
	if err != nil {
		return err
	}
	every := []broker.Filter{native.EveryRoom("/change")}
	single := []broker.Filter{broker.Exactly(native.Broadcast("/change"))}
	for _, room := range []string{"", "1", "2", "3"} {
		single = append(single, broker.Exactly(native.Room("/change", room)))
	}
	s, err := e.subscribe(ctx, b, append(every, broker.Exactly(native.Requests("/change")))...)
	if err != nil {
		return err
	}
	streams := []*stream{e.from(a, native.Requests("/change"))}
	for _, f := range single {
		streams = append(streams, e.from(a, f.Channel()))
	}
	stop := load(ctx, streams, s)
	for range 30 {
		if err = s.add(ctx, single...); err != nil {
			break
		}
		if err = s.remove(ctx, every...); err != nil {
			break
		}
		seen := streams[5].started.Load() + 1
		if err = s.await(ctx, 12, func() bool { return s.rec.track(streams[5].id).last >= seen }, nil, func() (string, []any) {
			return "no message arrived on %v after the filter of every room was removed", []any{streams[5].ch}
		}); err != nil {
			break
		}
		if err = s.add(ctx, every...); err != nil {
			break
		}
		if err = s.remove(ctx, single...); err != nil {
			break
		}
	}
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	return s.all(ctx, 12, streams...)
}

func caseAgain(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	twice, never, stay := native.Room("/x", "twice"), native.Room("/x", "never"), native.Room("/x", "stay")
	s, err := e.subscribe(ctx, b, broker.Exactly(twice), broker.Exactly(stay))
	if err != nil {
		return err
	}
	holder, err := e.subscribe(ctx, b, broker.Exactly(never), native.EveryRoom("/y"))
	if err != nil {
		return err
	}
	if err := s.add(ctx, broker.Exactly(twice), broker.Exactly(twice)); err != nil {
		return err
	}
	if err := e.one(ctx, s, a, twice); err != nil {
		return err
	}
	// Removing a filter that a subscription never had does not take it from another subscription.
	for range 2 {
		if err := s.remove(ctx, broker.Exactly(never), native.EveryRoom("/y"), broker.Exactly(native.Broadcast("/y"))); err != nil {
			return fail(13, "removing an unknown filter: %v", err)
		}
	}
	for _, ch := range []broker.Channel{never, native.Broadcast("/y"), native.Room("/y", "r")} {
		if err := e.one(ctx, holder, a, ch); err != nil {
			return err
		}
	}
	// Added three times and removed once, a filter is inactive.
	for range 2 {
		if err := s.remove(ctx, broker.Exactly(twice)); err != nil {
			return err
		}
		if err := e.noDelivery(ctx, a, twice, b, s, stay); err != nil {
			return err
		}
	}
	// It can be added again.
	if err := s.add(ctx, broker.Exactly(twice)); err != nil {
		return err
	}
	return e.one(ctx, s, a, twice)
}
