package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/crossroom/crossroom/backplane"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/conformance"
)

func TestReport(t *testing.T) {
	bus := memorybroker.NewBus(nil)
	var report *conformance.Report
	t.Run("suite", func(t *testing.T) {
		report = conformance.Run(t, conformance.Harness{Open: func(testing.TB) conformance.System {
			bus = memorybroker.NewBus(nil)
			return conformance.System{Node: func(context.Context) (*conformance.Node, error) {
				return &conformance.Node{Broker: bus.Broker()}, nil
			}}
		}}.Quietly())
	})
	rows := report.Rows()
	if len(rows) != len(conformance.BrokerClauses()) {
		t.Fatalf("%d rows", len(rows))
	}
	for i, row := range rows {
		if row.Clause != conformance.Clause(i+1) {
			t.Errorf("row %d is for %v", i, row.Clause)
		}
		want := conformance.Pass
		switch row.Clause {
		case 15, 16, 28, 29, 30: // all their cases need a power, and this harness has none
			want = conformance.Skipped
		case 1, 2, 3, 7, 9, 14, 17, 18, 19, 20, 21, 22, 23:
			want = conformance.Part
		}
		if row.Outcome != want {
			t.Errorf("%v, want %q", row, want)
		}
		if (row.Outcome == conformance.Pass) != (row.Skipped == nil) || (row.Skipped == nil) != (row.Reasons == nil) {
			t.Errorf("%v does not list what was skipped, and why", row)
		}
	}
	if s := rows[14].String(); !strings.HasPrefix(s, "B15 skip (not tried: ") || !strings.Contains(s, "lacks the power") {
		t.Errorf("row of B15: %s", s)
	}
	table := report.Markdown()
	if n := strings.Count(table, "\n"); n != len(rows)+2 || !strings.Contains(table, "| B26 | pass | ") {
		t.Errorf("table of %d lines:\n%s", n, table)
	}
}

// TestReportOfTheHarness: a harness that fails is no failure of the broker, and hides none.
func TestReportOfTheHarness(t *testing.T) {
	c := conformance.Cases()[0]
	harness, broker := errors.New("no server"), &conformance.Failure{Clause: c.Clauses[0]}
	for _, x := range []struct {
		results []error
		want    conformance.Outcome
	}{
		{[]error{nil, harness}, conformance.Broken},
		{[]error{harness, broker}, conformance.Failed},
		{[]error{&conformance.Skip{Reason: "x"}, fmt.Errorf("case: %w", broker)}, conformance.Failed},
	} {
		row := conformance.ReportOf(c, x.results...).Rows()[c.Clauses[0]-1]
		if row.Outcome != x.want || len(row.Passed)+len(row.Failed)+len(row.Broken)+len(row.Skipped) != 2 {
			t.Errorf("%v of %v, want %q", row, x.results, x.want)
		}
	}
	row := conformance.ReportOf(c, harness).Rows()[c.Clauses[0]-1]
	if s := row.String(); !strings.Contains(s, "harness fails (the harness failed: "+c.Name+")") {
		t.Error(s)
	}
}

// TestOpenedSystems: Run, RunFleet and Soak open systems with the choices of the harness.
func TestOpenedSystems(t *testing.T) {
	keys, err := backplane.NewKeyring(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	got, mode := conformance.Harness{
		Open: func(testing.TB) conformance.System { return conformance.System{} },
		Keys: keys, Subscription: backplane.DynamicSubscription,
	}.OpenedWith(t)
	if got != keys || mode != backplane.DynamicSubscription {
		t.Errorf("keys %v, mode %v", got, mode)
	}
}

func TestFailureQuotesTheClause(t *testing.T) {
	s := (&conformance.Failure{Clause: 7, What: "the suite saw it"}).Error()
	if !strings.Contains(s, "B7 is violated: the suite saw it") || !strings.Contains(s, conformance.Clause(7).Text()) {
		t.Error(s)
	}
}
