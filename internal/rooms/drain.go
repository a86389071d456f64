package rooms

import (
	"context"
	"math/rand/v2"
	"time"
)

// Draining is a registry whose members leave.
type Draining[M any] struct {
	Rooms *Registry[M]
	// Hand is called once for each member, and may remove it. It must not panic.
	Hand func(m M)
}

// lookAgain is the interval at which Drain looks whether members that were handed over have been removed.
const lookAgain = 10 * time.Millisecond

// Drain hands over each member of the registries that list returns, perSecond of them in a second on average, until
// they have none. The time between two of them is random, between a half and one and a half of the average. Members
// and registries that are added meanwhile are included. Drain returns the context's error if ctx ends first.
func Drain[M any](ctx context.Context, perSecond float64, list func() []Draining[M]) error {
	type member struct {
		entry *Entry[M]
		hand  func(M)
	}
	var handed map[*Entry[M]]struct{} // and not removed yet
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	sleep := func(until time.Time) bool {
		timer.Reset(time.Until(until))
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		var queue []member
		still := make(map[*Entry[M]]struct{})
		for _, d := range list() {
			var s Selection[M]
			s.Find(d.Rooms, Filter{})
			for _, e := range s.List {
				if _, had := handed[e]; !had {
					queue = append(queue, member{e, d.Hand})
				}
				still[e] = struct{}{}
			}
		}
		handed = still
		if len(handed) == 0 {
			return nil
		}
		if len(queue) == 0 {
			if !sleep(time.Now().Add(lookAgain)) {
				return ctx.Err()
			}
			continue
		}
		for _, m := range queue {
			if m.entry.Gone() {
				continue
			}
			if now := time.Now(); due.Before(now.Add(-time.Second)) {
				due = now // what could not be done in time is not made up for
			}
			if !sleep(due) {
				return ctx.Err()
			}
			due = due.Add(time.Duration((0.5 + rand.Float64()) / perSecond * float64(time.Second)))
			if !m.entry.Gone() {
				m.hand(m.entry.Member)
			}
		}
	}
}
