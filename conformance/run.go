package conformance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Run tries every case of a single broker on the harness's system, each as a subtest,
// logs a line for each clause, and returns what came out.
//
// A clause that could not be tried is logged as skipped, with the reason; it never
// counts as kept. Under go test -v or -json each line is also a test attribute named
// conformance, for whoever makes a table of several brokers.
func Run(t *testing.T, h Harness) *Report {
	t.Helper()
	return h.run(t, Cases(), BrokerClauses())
}

// RunFleet is Run for fleets of backplane nodes on the harness's system: what users
// meet. A broker that passes Run makes them whole, so what fails here and not there is
// a hole in the suite, or in package backplane, worth telling its authors.
func RunFleet(t *testing.T, h Harness) *Report {
	t.Helper()
	return h.run(t, FleetCases(), FleetClauses())
}

func (h *Harness) timeout() time.Duration {
	if h.Timeout <= 0 {
		return 30 * time.Second
	}
	return h.Timeout
}

func (h *Harness) run(t *testing.T, cases []Case, clauses []Clause) *Report {
	t.Helper()
	began := time.Now()
	report := &Report{broker: h.Name, clauses: clauses}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), h.timeout())
			defer cancel()
			sys := h.Open(t)
			if report.broker == "" {
				sys.Node = report.named(sys.Node)
			}
			err := c.runWith(ctx, sys, t.Logf)
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
	report.Took = time.Since(began)
	for _, row := range report.Rows() {
		t.Logf("conformance: %v", row)
	}
	if !h.quiet {
		report.attributes(t)
	}
	return report
}

// named notes the name of the first broker that node makes.
func (r *Report) named(node func(context.Context) (*Node, error)) func(context.Context) (*Node, error) {
	return func(ctx context.Context) (*Node, error) {
		n, err := node(ctx)
		if err == nil {
			r.once.Do(func() { r.broker = n.Broker.Capabilities().Name })
		}
		return n, err
	}
}

func clauseList(clauses []Clause) string {
	names := make([]string, len(clauses))
	for i, c := range clauses {
		names[i] = c.String()
	}
	return strings.Join(names, " ")
}
