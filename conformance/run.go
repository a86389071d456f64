package conformance

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Run runs every case of a single broker on the harness's system, each as a subtest. It logs a line for each clause,
// and returns the outcomes when all cases have ended. A failed case fails the test.
//
// A clause whose cases could not run is logged as skipped, with the reason; it never counts as passed. Under go test
// -v or -json each line is also a test attribute named conformance, for tables of several brokers.
func Run(t *testing.T, h Harness) *Report {
	t.Helper()
	return h.run(t, Cases(), BrokerClauses())
}

// RunFleet is Run for fleets of backplane nodes on the harness's system. The package documentation says what it means if a
// broker passes Run and fails here.
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
			err := c.runWith(ctx, h.open(t, report), t.Logf)
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

// open returns a fresh system with the choices of the harness.
func (h *Harness) open(tb testing.TB, report *Report) System {
	sys := h.Open(tb)
	sys.subscription, sys.keys = h.Subscription, h.Keys
	if h.Name == "" {
		sys.Node = report.named(sys.Node)
	}
	return sys
}

// named records the name of the first broker that node makes.
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
