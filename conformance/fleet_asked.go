package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/backplane"
)

var fleetAskedCases = []Case{
	{Name: "F20_AtOnce", Clauses: []Clause{f20}, Timing: true, run: ofSize(2, caseHundreds)},
}

// caseHundreds sends one node 500 requests at once, of each kind: as many messages as the
// suite keeps between a publisher and a receiver.
func caseHundreds(ctx context.Context, c *crew) error {
	if _, err := c.join(ctx, 1, "member", "room"); err != nil {
		return err
	}
	ns := c.ns(0)
	for what, ask := range map[string]func() error{
		"Members":       func() error { return second(ns.Members(ctx, backplane.All())) },
		"MembersDetail": func() error { return second(ns.MembersDetail(ctx, backplane.To("room"))) },
		"AllRooms":      func() error { return second(ns.AllRooms(ctx)) },
		"RoomsOf":       func() error { return second(ns.RoomsOf(ctx, "member")) },
		"Join":          func() error { return ns.Join(ctx, "member", "other") },
		"Request":       func() error { return second(ns.Request(ctx, []byte("who"))) },
	} {
		began := time.Now()
		if err := inParallel(500, func(int) error {
			for tries := 1; ; tries++ {
				err := ask()
				if err == nil {
					return nil
				}
				// That the broker could not count in so much of a hurry is not the node's fault.
				if tries == 5 || errors.Is(err, backplane.ErrBusy) || errors.Is(err, backplane.ErrNoResponse) || errors.Is(err, context.DeadlineExceeded) {
					return fail(f20, "%s, one of 500 at once, returned %v after %v", what, err, time.Since(began))
				}
			}
		}); err != nil {
			return err
		}
	}
	return nil
}
