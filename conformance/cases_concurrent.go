package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/crossroom/crossroom/broker"
)

var concurrentCases = []Case{
	{Name: "B24_Everything", Clauses: []Clause{24, 1}, Timing: true, run: caseEverything},
}

// caseEverything makes all calls at the same time, preferably under the race detector. A stream beside them must stay
// complete. Then it calls Close beside them.
func caseEverything(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/all", "steady")
	steady, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	busy, err := b.Broker.Subscribe(ctx, ignore{})
	if err != nil {
		return fail(1, "Subscribe failed without a fault: %v", err)
	}
	st := e.from(a, ch)
	stop := load(ctx, []*stream{st}, steady)

	calls := func(i int) map[string]func() error {
		room := native.Room("/all", fmt.Sprint(i%7))
		f := broker.Exactly(room)
		if i%5 == 0 {
			f = native.EveryRoom("/all")
		}
		return map[string]func() error{
			"Publish":   func() error { return b.Broker.Publish(ctx, room, encode(nil, probe, 1, 0)) },
			"Flush":     func() error { return b.Broker.Flush(ctx) },
			"Add":       func() error { return busy.Add(ctx, b.filters([]broker.Filter{f})...) },
			"Remove":    func() error { return busy.Remove(ctx, f) },
			"Stats":     func() error { b.Broker.Stats(); b.Broker.Capabilities(); return nil },
			"OnLoss":    func() error { b.Broker.OnLoss(func(broker.Loss) {})(); return nil },
			"Subscribe": func() error { return subscribeAndClose(ctx, b, f) },
			"Subscribers": func() error {
				_, err := b.Broker.Subscribers(ctx, room, ch)
				return unlessUnsupported(err)
			},
			"Responders": func() error {
				_, err := b.Broker.Responders(ctx, native, "/all")
				return unlessUnsupported(err)
			},
		}
	}
	hammer := func(rounds int, closing bool) error {
		var all sync.WaitGroup
		var mu sync.Mutex
		var first error
		for name := range calls(0) {
			all.Go(func() {
				for i := range rounds {
					err := calls(i)[name]()
					if err == nil || closing { // a call concurrent with Close may return any error
						continue
					}
					mu.Lock()
					if first == nil {
						first = fail(24, "%s, with all other calls at the same time, returned %s", name, errText(err))
					}
					mu.Unlock()
					return
				}
			})
		}
		all.Wait()
		return first
	}
	err = hammer(100, false)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	if err := steady.all(ctx, 24, st); err != nil {
		return err
	}
	steady.leaving(steady.filters())

	var closing sync.WaitGroup
	var closeErr error
	closing.Go(func() { closeErr = b.Broker.Close(ctx) })
	if err := hammer(50, true); err != nil {
		return err
	}
	closing.Wait()
	if closeErr != nil {
		return fail(24, "Close, with all other calls at the same time, returned %s", errText(closeErr))
	}
	for _, name := range []string{"Publish", "Flush", "Subscribe", "Add"} {
		if err := calls(1)[name](); !errors.Is(err, broker.ErrClosed) {
			return fail(21, "%s after Close returned %s", name, errText(err))
		}
	}
	return nil
}

func subscribeAndClose(ctx context.Context, n *Node, f broker.Filter) error {
	s, err := n.Broker.Subscribe(ctx, ignore{}, n.filters([]broker.Filter{f})...)
	if err != nil {
		return err
	}
	return s.Close(ctx)
}

func unlessUnsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
