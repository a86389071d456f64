package interest

import (
	"errors"
	"slices"
	"time"

	"github.com/crossroom/crossroom/broker"
)

// batch is the limit of filters in one call of the subscription. A call of Enter waits only
// for the batch with its own filters.
const batch = 4096

// wake starts the worker if there is work. mu is held.
func (s *Set) wake() {
	if s.running || s.closed || s.sub == nil {
		return
	}
	if s.goal == s.dynamic.Load() && len(s.pending) == 0 && s.resumed == nil && !s.due() {
		return
	}
	s.running = true
	s.o.Workers.Go(s.work)
}

// arm starts the timer that wakes the worker when the first room is due. mu is held.
func (s *Set) arm() {
	d := time.Until(s.empties[0].due)
	if s.timer == nil {
		s.timer = time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wake()
		})
		return
	}
	s.timer.Reset(d)
}

// due reports whether the filter of a room must be removed now. mu is held.
func (s *Set) due() bool { return len(s.empties) > 0 && !time.Now().Before(s.empties[0].due) }

// work is the worker. It returns when next returns nil.
func (s *Set) work() {
	for {
		s.mu.Lock()
		do := s.next()
		s.mu.Unlock()
		if do == nil {
			return
		}
		do()
	}
}

// next returns the next call of the worker, or nil if there is no work. mu is held.
func (s *Set) next() func() {
	dynamic := s.dynamic.Load()
	switch {
	case s.closed:
	case dynamic && !s.goal:
		return s.becomeStatic
	case !dynamic && s.goal:
		return s.becomeDynamic
	case s.due():
		return s.sweep
	case len(s.pending) > s.dropped:
		n := min(batch, len(s.pending))
		list := make([]*room, 0, n)
		for _, r := range s.pending[:n] {
			if r.dropped {
				s.dropped--
				continue
			}
			r.adding = true
			list = append(list, r)
		}
		clear(s.pending[:n])
		if s.pending = s.pending[n:]; len(s.pending) == 0 {
			s.pending = nil
		}
		return func() { s.add(list) }
	case dynamic && s.everything:
		return s.leaveStatic
	case s.resumed != nil && s.owing == 0:
		f := s.resumed
		s.resumed = nil
		return f
	}
	if !s.closed && len(s.empties) > 0 {
		s.arm()
	}
	s.running = false
	return nil
}

// add adds the filters of rooms.
func (s *Set) add(list []*room) {
	if len(list) == 0 {
		return
	}
	filters := make([]broker.Filter, len(list))
	for i, r := range list {
		filters[i] = s.filter(r.name)
	}
	err := s.sub.Add(s.ctx, filters...)
	if err != nil && len(list) > 1 && !s.ended(err) {
		// The broker refuses all filters of a call if it refuses one.
		s.add(list[:len(list)/2])
		s.add(list[len(list)/2:])
		return
	}
	s.mu.Lock()
	if err == nil {
		for _, r := range list {
			r.live, r.adding = true, false
			s.live++
			s.paid(r)
			s.settle(r, nil)
		}
		s.mu.Unlock()
		return
	}
	if s.ended(err) {
		s.mu.Unlock()
		s.Close()
		return
	}
	r := list[0]
	r.adding = false
	if s.o.Automatic && !s.judge.stuck && (s.everything || !isName(err)) {
		// Static mode may not need this filter. If it does, the filter is added again.
		s.pending = append(s.pending, r)
		s.mu.Unlock()
		s.refused(err)
		return
	}
	lost := r.owed
	s.settle(r, err)
	s.drop(r)
	s.mu.Unlock()
	if lost && s.o.Lost != nil {
		s.o.Lost([]string{r.name}, err)
	}
}

// refused makes the mode static for good, and reports the first refusal.
func (s *Set) refused(err error) {
	s.mu.Lock()
	first := !s.judge.refused
	s.judge.refused, s.goal = true, false
	s.mu.Unlock()
	if first && s.o.Refused != nil {
		s.o.Refused(err)
	}
}

// isName reports whether the broker refused a name, not a subscription. Then a change of
// the mode helps only members that are in the room already.
func isName(err error) bool {
	_, ok := errors.AsType[*broker.NameError](err)
	return ok
}

// ended reports whether err means that the subscription has ended.
func (s *Set) ended(err error) bool { return errors.Is(err, broker.ErrClosed) || s.ctx.Err() != nil }

// remove removes filters. It ignores errors: removing fails only if the subscription has ended.
func (s *Set) remove(filters []broker.Filter) {
	for part := range slices.Chunk(filters, batch) {
		_ = s.sub.Remove(s.ctx, part...)
	}
}

// sweep removes the filters of rooms that lost their last member some time ago.
func (s *Set) sweep() {
	s.mu.Lock()
	var list []idle
	// The same call removes the filters that are due soon.
	for now := time.Now().Add(s.o.Linger / 8); len(s.empties) > 0 && !now.Before(s.empties[0].due); {
		r := s.empties[0]
		s.empties[0] = nil
		s.empties = s.empties[1:]
		r.listed = false
		if !r.dropped && r.pins == 0 {
			list = append(list, idle{r, r.used})
		}
	}
	if len(s.empties) == 0 {
		s.empties = nil
	}
	s.mu.Unlock()
	list = slices.DeleteFunc(list, func(i idle) bool { return s.o.Members.Holds(i.r.name) })
	var filters []broker.Filter
	s.mu.Lock()
	for _, i := range list {
		if i.still() && !i.r.dropped {
			s.drop(i.r)
			filters = append(filters, s.filter(i.r.name))
		}
	}
	s.mu.Unlock()
	s.remove(filters)
}

// becomeDynamic starts the change to dynamic mode. leaveStatic completes it when all filters
// are live.
func (s *Set) becomeDynamic() {
	s.change(true)
	if err := s.sub.Add(s.ctx, s.base()...); err != nil {
		if s.ended(err) {
			s.Close()
			return
		}
		s.refused(err)
		return
	}
	// Names has every earlier change of memberships, and every later one is a visit.
	names := s.o.Members.Names()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if name != "" {
			s.room(name)
		}
	}
}

func (s *Set) leaveStatic() {
	s.remove([]broker.Filter{s.every()})
	s.everything = false
}

// becomeStatic changes to static mode.
func (s *Set) becomeStatic() {
	if !s.everything {
		if err := s.sub.Add(s.ctx, s.every()); err != nil {
			if s.ended(err) {
				s.Close()
				return
			}
			s.mu.Lock()
			s.judge.stuck, s.goal = true, true
			s.mu.Unlock()
			return
		}
		s.everything = true
	}
	filters := s.base()
	for name, r := range s.change(false) {
		if r.live {
			filters = append(filters, s.filter(name))
		}
	}
	s.remove(filters)
}

// change changes the mode and returns the former rooms. It completes the waiting visits.
func (s *Set) change(dynamic bool) map[string]*room {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dynamic.Store(dynamic)
	s.era++
	s.judge.changed(dynamic)
	old := s.rooms
	s.rooms, s.pending, s.dropped, s.empties, s.live, s.owing = map[string]*room{}, nil, 0, nil, 0, 0
	for _, r := range old {
		s.settle(r, nil)
		r.dropped, r.owed = true, false
	}
	return old
}
