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
// and has at most maxRooms rooms. A node in dynamic mode becomes static in two cases: its
// new rooms a second exceed leastChanges and half of the unwanted messages a second before,
// or it has more than 3/2 of maxRooms. roomShare and maxRooms represent the costs of a room:
// memory in node and server, and a name to be sent again after an outage.
const (
	roomShare    = 100
	changeCost   = 4
	leastChanges = 250
	maxRooms     = 50_000
	longestDwell = 10 * time.Minute

	// judgeEvery is the number of messages, or of new rooms, between two looks at the clock.
	judgeEvery = 64
)

// judge measures rates and decides which mode is cheaper. Set.mu guards all fields except
// the atomic ones.
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
	until   time.Time // the mode stays static until then
	changes uint64
	refused bool // the broker refused a filter: the mode stays static
	stuck   bool // the broker refused the filter of static mode, too
	blind   bool // Unawaited was called: the mode stays static
}

func (j *judge) init(o *Options) { j.window, j.dwell, j.since = o.Window, o.Dwell, time.Now() }

// changed records a change of the mode.
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

// Unwanted counts a message on the channel of a room without local members. It is cheap and
// safe for concurrent use.
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
	closings := float64(closed-j.sinceRoom) / lasted.Seconds()
	j.since, j.sinceUnwanted, j.sinceRoom = now, unwanted, closed
	if j.refused || j.blind || now.Before(j.until) || rooms > maxRooms || rate <= 1+float64(rooms)/roomShare+changeCost*closings {
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

// Unawaited records that another process put local members into rooms and waits for no
// response. Its next messages to the rooms may arrive before their filters are live. In
// automatic mode the namespace stays static from then on.
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
