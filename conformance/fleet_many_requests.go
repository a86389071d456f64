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

// caseHundreds sends 500 requests of each kind to one node at once. The suite keeps at most that many messages between
// a publisher and a receiver.
func caseHundreds(ctx context.Context, c *fleet) error {
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
				// The node is not responsible if the broker could not count in time.
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
