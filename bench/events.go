package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane/observe"
)

// observed is work on a node with an observer or without.
type observed struct {
	name, what string
	limit      float64                                    // for the cost with an observer of changes
	do         func(context.Context, loopNode, int) error // one operation, the i-th of its slice
	size       int                                        // operations in a slice
	changes    int                                        // changes of visited rooms by one operation
}

// visiting are sockets of the node, and the rooms that they join and leave.
var visiting, visited [100]string

func init() {
	for i := range visiting {
		visiting[i], visited[i] = socketID(i), visitedRoom+socketID(i)
	}
}

const visitedRoom = "visited by "

var (
	observedBroadcast = observed{
		name: "broadcast", what: "one broadcast to 100 local sockets and to the broker", limit: 1.15, size: 64,
		do: func(ctx context.Context, n loopNode, _ int) error { return n.emits(ctx) },
	}
	observedJoin = observed{
		name: "join", what: "a local socket joins a new room and leaves it, which is four changes", limit: 3.5, size: 1000, changes: 4,
		do: func(ctx context.Context, n loopNode, i int) error {
			id, room := visiting[i%len(visiting)], visited[i%len(visiting)]
			return errors.Join(n.ns.Join(ctx, id, room), n.ns.Leave(ctx, id, room))
		},
	}
)

// indifferent is an observer that wants no events.
type indifferent struct{ observe.Nop }

func (indifferent) Events() observe.Events { return 0 }

// changeCounter is an observer of changes only. It reports each slice's changes.
type changeCounter struct {
	observe.Nop
	slice, n int
	lost     atomic.Int64
	all      chan struct{}
}

func (*changeCounter) Events() observe.Events { return observe.Changes }

func (c *changeCounter) Changed(change observe.Change) {
	c.lost.Add(int64(change.Lost))
	if !strings.HasPrefix(change.Room, visitedRoom) {
		return
	}
	if c.n++; c.n == c.slice {
		c.n = 0
		c.all <- struct{}{}
	}
}

// wait returns when the slice's changes have been passed on.
func (c *changeCounter) wait() error {
	if c.slice == 0 {
		return nil
	}
	select {
	case <-c.all:
	case <-time.After(10 * time.Second):
		return errors.New("changes are not passed on after 10 s")
	}
	if lost := c.lost.Load(); lost > 0 {
		return fmt.Errorf("%d changes lost", lost)
	}
	return nil
}

// on opens a node with 100 sockets in a room, and returns a slice of the work.
func (w observed) on(ctx context.Context, s *stage, observer observe.Observer) (func(context.Context) error, error) {
	n, err := newLoopNode(ctx, s, observer)
	for i := 0; err == nil && i < len(visiting); i++ {
		err = join(ctx, n.ns, &sink{visiting[i], func() {}}, room)
	}
	return func(ctx context.Context) error {
		for i := range w.size {
			if err := w.do(ctx, n, i); err != nil {
				return err
			}
		}
		return nil
	}, err
}

// without does the work on a node without an observer.
func (w observed) without(ctx context.Context, s *stage) (round, error) {
	slice, err := w.on(ctx, s, nil)
	return func(ctx context.Context) (int64, figures, error) {
		return s.repeat(w.size, func(int) error { return slice(ctx) })
	}, err
}

// set does the work on a node with an observer of changes, and waits until that has seen them.
func (w observed) set(ctx context.Context, s *stage) (round, error) {
	counter := &changeCounter{slice: w.size * w.changes, all: make(chan struct{}, 1)}
	slice, err := w.on(ctx, s, counter)
	return func(ctx context.Context) (int64, figures, error) {
		return s.repeat(w.size, func(int) error {
			if err := slice(ctx); err != nil {
				return err
			}
			return counter.wait()
		})
	}, err
}

// inTurns is the unit of a slice's median time, divided by that of a node without an observer.
const inTurns = "times no observer, in turns"

// unset does the work in turns on a node with an observer that wants no events and on one without an observer: slices of
// less than 1 ms, because a bar of 2 % is below the noise of longer turns.
func (w observed) unset(ctx context.Context, s *stage) (round, error) {
	var nodes [2]func(context.Context) error
	observers := []observe.Observer{indifferent{}, nil}
	for _, i := range rand.Perm(2) { // the first one has another place in memory
		var err error
		if nodes[i], err = w.on(ctx, s, observers[i]); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) (int64, figures, error) {
		var took [2][]float64
		operations, _, err := s.repeat(4*w.size, func(int) error {
			for _, i := range []int{0, 1, 1, 0} {
				start := time.Now()
				if err := nodes[i](ctx); err != nil {
					return err
				}
				took[i] = append(took[i], float64(time.Since(start)))
			}
			return nil
		})
		if err != nil {
			return 0, nil, err
		}
		slices.Sort(took[0])
		slices.Sort(took[1])
		return operations, figures{{inTurns, quantile(took[0], 0.5) / quantile(took[1], 0.5)}}, nil
	}, nil
}

// measurement compares the cost of the work with observers of changes and without.
func (w observed) measurement() measurement {
	return measurement{
		name: "events, " + w.name,
		what: w.what + ": without an observer, with one that wants no events, in turns with none, and with one of changes",
		contenders: []contender{
			{"no observer", w.without},
			{"unset", w.unset},
			{"set", w.set},
		},
		bars: []bar{
			atMost(1.02, w.name+" with no event wanted: time, times no observer", single(inTurns, "unset")),
			atMost(w.limit, w.name+" with an observer of changes: CPU, times no observer", times(cpu, "set", "no observer")),
			atMost(0.05, w.name+" with an observer of changes: allocations beyond no observer", more(allocs, "set", "no observer")),
		},
	}
}

// single returns one contender's figure.
func single(unit, of string) func(results) []float64 {
	return paired(unit, func(v []float64) float64 { return v[0] }, of)
}
