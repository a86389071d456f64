package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Case is one check. Cases are values, so that the suite can itself be tested with
// brokers that are broken on purpose.
type Case struct {
	// Name begins with the first clause, as in "B07_Overwritten".
	Name string
	// Clauses that it tests, the main one first.
	Clauses []int
	// Needs are the powers without which it cannot be tried.
	Needs Power

	run func(context.Context, *env) error
}

// Cases returns all cases in the order of their clauses.
func Cases() []Case {
	cases := slices.Concat(
		deliveryCases, nameCases, payloadCases, receiverCases, removeCases,
		outageCases, outboxCases, callCases, closeCases, countCases, concurrentCases,
	)
	slices.SortStableFunc(cases, func(a, b Case) int { return cmp.Compare(a.Clauses[0], b.Clauses[0]) })
	return cases
}

// Run tries the case on a fresh system and closes every broker it made there. It
// returns nil, a *Skip, a *Failure, or another error if the harness failed. It ends
// soon after ctx, also if the broker hangs: then goroutines are left behind.
func (c Case) Run(ctx context.Context, sys System) error {
	e := &env{sys: sys}
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
		case <-time.After(2 * prompt):
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
		return skip("the harness has no power to %v", missing)
	}
	err = c.run(ctx, e)
	var failure *Failure
	if err == nil || !errors.As(err, &failure) {
		// What a recorder saw is worth more than a case that passed or gave up.
		if seen := e.verify(); seen != nil {
			err = seen
		}
	}
	if errors.As(err, &failure) && ctx.Err() != nil {
		failure.What += " (and the time for the case was over)"
	}
	return err
}

// The second entry, for a fleet of backplane nodes over a broker, will be RunFleet.

// Run tries every case on the harness's system, each as a subtest, logs a line for
// each clause, and returns what came out.
//
// A clause that could not be tried is logged as skipped, with the reason; it never
// counts as kept.
func Run(t *testing.T, h Harness) *Report {
	t.Helper()
	timeout := h.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	report := &Report{}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			err := c.Run(ctx, h.Open(t))
			report.add(c, err)
			var skipped *Skip
			switch {
			case errors.As(err, &skipped):
				t.Skipf("%s %v", clauseList(c.Clauses), err)
			case err != nil:
				t.Fatal(err)
			}
		})
	}
	for _, row := range report.Rows() {
		t.Logf("conformance: %v", row)
	}
	return report
}

func clauseList(clauses []int) string {
	s := ""
	for i, n := range clauses {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("B%d", n)
	}
	return s
}
