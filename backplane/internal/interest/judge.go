package interest

import (
	"sync/atomic"
	"time"
)

// The rule of automatic mode. A node in static mode becomes dynamic when it receives more
// messages a second for rooms that it has no members of than
//
//	1 + rooms/roomShare + changeCost × rooms that lost their last member a second
//
// and has at most maxRooms rooms. One in dynamic mode becomes static when it enters more
// than half as many new rooms a second as it received unwanted messages before, and more
// than leastChanges; or when it has more than 3/2 of maxRooms. What is stated for roomShare
// and maxRooms is what a room costs: memory in node and server, and a name to be sent again
// after an outage.
const (
	roomShare    = 100
	changeCost   = 4
	leastChanges = 250
	maxRooms     = 50_000
	longestDwell = 10 * time.Minute

	// judgeEvery is how many messages, or new rooms, are counted before the clock is looked
	// at.
	judgeEvery = 64
)

// judge measures, and decides which mode is cheaper. Set.mu guards it, but for the atomic
// fields.
type judge struct {
	unwanted atomic.Uint64 // messages
	closed   atomic.Uint64 // rooms that lost their last member

	window time.Duration
	dwell  time.Duration
	// The window that began at since, with these counts.
	since                    time.Time
	sinceUnwanted, sinceRoom uint64

	opened  uint64 // rooms that were new in dynamic mode
	worth   float64
	until   time.Time // static mode stays
	changes uint64
	refused bool // by the broker: the mode stays static
	stuck   bool // so is the filter of static mode
	blind   bool // Unawaited was called
}

func (j *judge) init(o *Options) { j.window, j.dwell, j.since = o.Window, o.Dwell, time.Now() }

// changed notes a change of the mode.
func (j *judge) changed(dynamic bool) {
	j.changes++
	now := time.Now()
	j.since, j.sinceUnwanted, j.sinceRoom = now, j.unwanted.Load(), j.opened
	if !dynamic {
		j.sinceRoom = j.closed.Load()
		j.until = now.Add(j.dwell)
		j.dwell = min(2*j.dwell, longestDwell)
	}
}

// Unwanted counts a message on the channel of a room that no member here is in. It costs
// little, and may be called by any goroutine.
func (s *Set) Unwanted() {
	if n := s.judge.unwanted.Add(1); n%judgeEvery == 0 && s.o.Automatic && !s.dynamic.Load() {
		s.considerDynamic(n)
	}
}

func (s *Set) considerDynamic(unwanted uint64) {
	members, rooms := s.o.Members.Counts()
	rooms += members
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &s.judge
	now := time.Now()
	lasted := now.Sub(j.since)
	if lasted < j.window || s.dynamic.Load() {
		return
	}
	closed := j.closed.Load()
	rate := float64(unwanted-j.sinceUnwanted) / lasted.Seconds()
	gone := float64(closed-j.sinceRoom) / lasted.Seconds()
	j.since, j.sinceUnwanted, j.sinceRoom = now, unwanted, closed
	if j.refused || j.blind || now.Before(j.until) || rooms > maxRooms || rate <= 1+float64(rooms)/roomShare+changeCost*gone {
		return
	}
	j.worth = rate
	s.goal = true
	s.wake()
}

// opened counts a new room in dynamic mode. mu is held.
func (s *Set) opened() {
	j := &s.judge
	j.opened++
	if !s.o.Automatic || j.stuck {
		return
	}
	if len(s.rooms) > maxRooms*3/2 {
		s.goal = false
		return
	}
	if j.opened%judgeEvery != 0 {
		return
	}
	now := time.Now()
	lasted := now.Sub(j.since)
	if lasted < j.window {
		return
	}
	rate := float64(j.opened-j.sinceRoom) / lasted.Seconds()
	j.since, j.sinceRoom = now, j.opened
	if rate > max(j.worth/2, leastChanges) {
		s.goal = false
	}
}

// Unawaited notes that another process had members here enter rooms, and does not wait for
// an answer: what it sends to the rooms next would come before their filters are live. In
// automatic mode the namespace stays static from here on.
func (s *Set) Unawaited() {
	if !s.o.Automatic {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge.blind = true
	if !s.judge.stuck {
		s.goal = false
		s.wake()
	}
}
