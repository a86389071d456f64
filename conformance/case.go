package conformance

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Case is one check. Cases are values, so that the suite itself can be tested with brokers that are broken on purpose.
type Case struct {
	// Name begins with the first clause, as in "B07_Overwritten".
	Name string
	// Clauses are the tested clauses, the main one first.
	Clauses []Clause
	// Needs are the powers without which the case cannot run.
	Needs Power
	// Timing marks the cases that Soak repeats: those whose outcome could depend on timing if the broker or the suite has
	// a defect.
	Timing bool

	run func(context.Context, *env) error
}

// Cases returns all cases of a single broker in the order of their clauses. The caller owns the slice, but not the Clauses
// of its elements, which are read-only.
func Cases() []Case {
	return sorted(
		deliveryCases, nameCases, payloadCases, receiverCases, removeCases,
		outageCases, outboxCases, callCases, closeCases, countCases, concurrentCases, rightsCases, protocolCases,
	)
}

// FleetCases returns all cases of a fleet in the order of their clauses. The caller owns it as with Cases.
func FleetCases() []Case {
	return sorted(fleetBroadcastCases, fleetRoomCases, fleetSigningCases, fleetQuestionCases, fleetMembershipCases, fleetIntroductionCases, fleetAskedCases, fleetOutageCases, fleetHealthCases, fleetLimitCases, fleetConcurrentCases)
}

func sorted(lists ...[]Case) []Case {
	cases := slices.Concat(lists...)
	slices.SortStableFunc(cases, func(a, b Case) int { return cmp.Compare(a.Clauses[0], b.Clauses[0]) })
	return cases
}

// Run runs the case on a fresh system until it has ended or ctx ends, and closes every broker that the case made. It
// returns nil; a *Skip if the case cannot run; a *Failure if the broker violates a clause; or another error if the harness
// failed. Use errors.As for both types. If the broker hangs, it returns a *Failure of B20 within about 16 seconds after
// ctx has ended, and leaves goroutines behind. Harness.Subscription and Harness.Keys have no effect on it.
func (c Case) Run(ctx context.Context, sys System) error {
	return c.runWith(ctx, sys, func(string, ...any) {})
}

// runWith runs the case and passes notes to logf.
func (c Case) runWith(ctx context.Context, sys System, logf func(string, ...any)) error {
	e := &env{sys: sys, logf: logf}
	result := make(chan error, 1)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		defer e.close()
		result <- c.try(ctx, e)
	}()
	var err error
	select {
	case err = <-result:
	case <-ctx.Done():
		select {
		case err = <-result:
		case <-time.After(2 * returnLimit):
			return fail(20, "a call did not return after its context had ended")
		}
	}
	<-closed
	return err
}

func (c Case) try(ctx context.Context, e *env) error {
	first, err := e.sys.Node(ctx)
	if err != nil {
		return setup("making a node", err)
	}
	e.first = first
	if missing := c.Needs &^ powersOf(e.sys, first); missing != 0 {
		return skip("the harness lacks the power %v", missing)
	}
	err = c.run(ctx, e)
	var failure *Failure
	if err == nil || !errors.As(err, &failure) {
		// A violation that a recorder saw counts more than a case that passed or gave up.
		if seen := e.verify(); seen != nil {
			err = seen
		}
	}
	if errors.As(err, &failure) && ctx.Err() != nil {
		failure.What += " (and the case had timed out)"
	}
	return err
}
