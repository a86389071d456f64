package interest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// Members is the part of the registry of members that a Set uses. The registry's lock may be
// held when Left is called. Therefore a Set calls these methods without holding mu.
type Members interface {
	// Holds reports whether a member is in the room.
	Holds(room string) bool
	// Names returns all rooms that have members.
	Names() []string
	// Counts returns the number of members, and the number of rooms besides those of their
	// ids.
	Counts() (members, rooms int)
}

// Options of a Set.
type Options struct {
	Protocol  broker.Protocol
	Namespace string
	Members   Members
	// Dynamic is the first mode. Automatic lets it change.
	Dynamic, Automatic bool
	// Workers counts the goroutine.
	Workers *sync.WaitGroup
	// Lost is called when the broker refuses the filters of rooms and no call of Enter waits
	// for them. The members must leave these rooms. No lock is held during the call.
	Lost func(rooms []string, err error)
	// Refused is called when the mode becomes static because the broker refused a filter.
	Refused func(err error)
	// Linger is how long a room keeps its filter after its last member. Zero: 2 s.
	Linger time.Duration
	// Window is the time over which rates are measured. Dwell is how long the mode stays
	// static after the first change from dynamic to static. Zero: 2 and 10 s.
	Window, Dwell time.Duration
}

// Set is the set of filters that one namespace subscribes to.
//
// Lock order: gate, the lock of Members, mu.
type Set struct {
	o   Options
	ctx context.Context
	sub broker.Subscription

	// gate is held while memberships change, and, for writing, while the mode does.
	gate sync.RWMutex
	// dynamic and era change with gate and mu held for writing. era counts changes.
	dynamic atomic.Bool
	era     int

	mu      sync.Mutex
	closed  bool
	running bool             // the worker is running
	goal    bool             // the next value of dynamic
	rooms   map[string]*room // in dynamic mode
	pending []*room          // their filters must be added; some of the rooms may be dropped
	dropped int              // number of dropped rooms in pending
	live    int              // number of rooms with live filters
	empties []*room          // rooms that may have lost their last member, in the order of due
	timer   *time.Timer      // until the first of these is due
	down    bool             // the subscription is interrupted
	owing   int              // number of owed rooms
	resumed func()           // call this when owing is zero
	judge   judge

	everything bool // the filter of static mode is live; only the worker uses this
}

// room is a room with a filter, or whose filter is being added. Set.mu guards it.
type room struct {
	name    string
	live    bool
	adding  bool // its filter is part of a running call
	owed    bool // not live, although a member may be in the room
	listed  bool // in empties
	dropped bool
	pins    int32 // number of running visits
	used    uint32
	visits  []*visit // visits that wait for live
	due     time.Time
}

// idle is a room without a running visit, at the time when its counter was used.
type idle struct {
	r    *room
	used uint32
}

// still reports whether no visit has used the room since. Set.mu is held.
func (i idle) still() bool { return i.r.used == i.used && i.r.pins == 0 }

// visit is one call of Enter or EnterFirst.
type visit struct {
	rooms []*room
	left  int           // number of rooms that are not live
	done  chan struct{} // closed when left is zero or err is set
	err   error
}

// New makes a set.
func New(o Options) *Set {
	if o.Linger == 0 {
		o.Linger = 2 * time.Second
	}
	if o.Window == 0 {
		o.Window = 2 * time.Second
	}
	if o.Dwell == 0 {
		o.Dwell = 10 * time.Second
	}
	s := &Set{o: o, goal: o.Dynamic, everything: !o.Dynamic, rooms: map[string]*room{}}
	s.dynamic.Store(o.Dynamic)
	s.judge.init(&s.o)
	return s
}

// Filters returns the filters of the subscription that is passed to Start.
func (s *Set) Filters() []broker.Filter {
	if s.o.Dynamic {
		return s.base()
	}
	return []broker.Filter{s.every()}
}

func (s *Set) every() broker.Filter { return s.o.Protocol.EveryRoom(s.o.Namespace) }

// base returns the filters of dynamic mode that do not depend on rooms.
func (s *Set) base() []broker.Filter {
	return []broker.Filter{broker.Exactly(s.o.Protocol.Broadcast(s.o.Namespace)), s.filter("")}
}

func (s *Set) filter(room string) broker.Filter {
	return broker.Exactly(s.o.Protocol.Room(s.o.Namespace, room))
}

// Start gives the set its subscription. ctx ends the worker's calls.
func (s *Set) Start(ctx context.Context, sub broker.Subscription) { s.ctx, s.sub = ctx, sub }

// Close ends the set. Calls of Enter that wait return broker.ErrClosed.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	for _, r := range s.rooms {
		s.settle(r, broker.ErrClosed)
	}
}

// Enter waits until the filters of the rooms are live and then calls change, which puts
// members into the rooms. While the subscription is interrupted it does not wait. It returns,
// without calling change, the context's error, broker.ErrClosed, or the broker's error if a
// filter was refused.
func (s *Set) Enter(ctx context.Context, rooms []string, change func()) error {
	for {
		s.gate.RLock()
		if !s.dynamic.Load() {
			change()
			s.gate.RUnlock()
			return nil
		}
		era := s.era
		v, err := s.visit(rooms)
		s.gate.RUnlock()
		if err == nil {
			err = v.wait(ctx)
		}
		if err != nil {
			s.release(v)
			return err
		}
		s.gate.RLock()
		same := s.era == era
		if same {
			change()
		}
		s.gate.RUnlock()
		s.release(v)
		if same {
			return nil
		}
	}
}

// EnterFirst calls change at once. If it returns a function, the caller must call it: it
// waits until the filters of the rooms are live. It returns the errors of Enter, and then the
// caller takes the members out of the rooms. Without wait, Options.Lost is called instead.
func (s *Set) EnterFirst(rooms []string, wait bool, change func()) (live func(context.Context) error) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if !s.dynamic.Load() {
		change()
		return nil
	}
	v, err := s.visit(rooms)
	change()
	if err != nil {
		return nil // the namespace is closed
	}
	if v.isDone() {
		s.release(v)
		return nil
	}
	if !wait {
		s.mu.Lock()
		for _, r := range v.rooms {
			s.owe(r)
		}
		s.mu.Unlock()
		s.release(v)
		return nil
	}
	return func(ctx context.Context) error {
		defer s.release(v)
		err := v.wait(ctx)
		if err != nil && err == ctx.Err() {
			// The members are in the rooms. If the broker refuses a filter, Lost is called.
			s.mu.Lock()
			for _, r := range v.rooms {
				s.owe(r)
			}
			s.mu.Unlock()
		}
		return err
	}
}

// visit pins rooms, and requests filters for those that have none.
func (s *Set) visit(names []string) (*visit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, broker.ErrClosed
	}
	v := &visit{rooms: make([]*room, 0, len(names)), done: make(chan struct{})}
	for _, name := range names {
		if name == "" {
			continue // in base
		}
		r := s.room(name)
		r.pins++
		r.used++
		v.rooms = append(v.rooms, r)
		switch {
		case r.live:
		case s.down:
			s.owe(r)
		default:
			v.left++
			r.visits = append(r.visits, v)
		}
	}
	if v.left == 0 {
		close(v.done)
	}
	s.wake()
	return v, nil
}

// room returns the room with a name, and makes it if necessary. mu is held.
func (s *Set) room(name string) *room {
	r := s.rooms[name]
	if r == nil {
		r = &room{name: strings.Clone(name)} // it may be a part of a large message
		s.rooms[r.name] = r
		s.pending = append(s.pending, r)
		s.opened()
	}
	return r
}

// owe records that a room whose filter is not live may have a member. mu is held.
func (s *Set) owe(r *room) {
	if !r.live && !r.owed && !r.dropped {
		r.owed = true
		s.owing++
	}
}

// settle completes, with err, the visits that wait for a room. mu is held.
func (s *Set) settle(r *room, err error) {
	for _, v := range r.visits {
		if v.left--; v.err != nil || v.left < 0 {
			continue // the visit is done
		}
		if err != nil {
			v.err, v.left = err, 0
		}
		if v.left == 0 {
			close(v.done)
		}
	}
	r.visits = nil
}

func (v *visit) isDone() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

func (v *visit) wait(ctx context.Context) error {
	select {
	case <-v.done:
		return v.err
	default:
	}
	select {
	case <-v.done:
		return v.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release ends a visit. Rooms without a member lose their filters again.
func (s *Set) release(v *visit) {
	if v == nil {
		return
	}
	var few [4]idle
	list := few[:0]
	s.mu.Lock()
	waits := !v.isDone()
	for _, r := range v.rooms {
		if waits {
			r.visits = without(r.visits, v)
		}
		if r.pins--; r.pins == 0 && !r.dropped {
			list = append(list, idle{r, r.used})
		}
	}
	s.mu.Unlock()
	for _, i := range list {
		if s.o.Members.Holds(i.r.name) {
			continue
		}
		s.mu.Lock()
		if i.still() {
			s.emptied(i.r)
		}
		s.mu.Unlock()
	}
}

func without(list []*visit, v *visit) []*visit {
	for i, other := range list {
		if other == v {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// Left records that a room has lost its last member. The lock of Members may be held.
func (s *Set) Left(name string) {
	s.judge.closed.Add(1)
	if !s.dynamic.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[name]; r != nil && r.pins == 0 {
		s.emptied(r)
	}
}

// emptied schedules the removal of a room's filter, or drops a room whose filter was not added. mu is held.
func (s *Set) emptied(r *room) {
	switch {
	case r.dropped || r.listed || s.closed:
	case !r.live && !r.adding:
		s.drop(r)
		if s.dropped++; s.dropped > 64 && s.dropped > len(s.pending)/2 {
			kept := s.pending[:0]
			for _, r := range s.pending {
				if !r.dropped {
					kept = append(kept, r)
				}
			}
			clear(s.pending[len(kept):])
			s.pending, s.dropped = kept, 0
		}
	default:
		r.listed, r.due = true, time.Now().Add(s.o.Linger)
		s.empties = append(s.empties, r)
		if len(s.empties) == 1 {
			s.arm()
		}
	}
}

// drop forgets a room. mu is held.
func (s *Set) drop(r *room) {
	r.dropped = true
	if s.rooms[r.name] == r {
		delete(s.rooms, r.name)
	}
	if r.live {
		s.live--
	}
	s.paid(r)
}

// paid records that a room is not owed any more. mu is held.
func (s *Set) paid(r *room) {
	if r.owed {
		r.owed = false
		s.owing--
	}
}

// Interrupted records that the subscription may miss messages. Until Resumed is called,
// Enter does not wait.
func (s *Set) Interrupted() {
	s.mu.Lock()
	f := s.resumed
	s.resumed, s.down = nil, true
	for _, r := range s.rooms {
		if !r.live && len(r.visits) > 0 {
			s.owe(r)
			s.settle(r, nil)
		}
	}
	s.mu.Unlock()
	if f != nil {
		f() // for the earlier interruption
	}
}

// Resumed records that the subscription is live again. It calls f when the filters of all
// rooms that were entered meanwhile are live: at once, or later on another goroutine.
func (s *Set) Resumed(f func()) {
	s.mu.Lock()
	s.down = false
	if s.owing > 0 && !s.closed {
		s.resumed = f
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	f()
}

// Stats is a snapshot of a Set.
type Stats struct {
	Dynamic bool
	// Rooms with a filter of their own.
	Rooms int
	// Changes of the mode.
	Changes uint64
}

// Stats returns a snapshot.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Dynamic: s.dynamic.Load(), Rooms: s.live, Changes: s.judge.changes}
}

// Dynamic reports whether the mode is dynamic.
func (s *Set) Dynamic() bool { return s.dynamic.Load() }
