package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Outcome is the result of a clause: of all cases that name it.
type Outcome string

const (
	Pass    Outcome = "pass"          // all cases
	Part    Outcome = "pass, in part" // some cases could not run, the others passed
	Failed  Outcome = "fail"          // the broker, or a fleet on it, in at least one case
	Broken  Outcome = "harness fails" // no case failed, and the harness failed in at least one
	Skipped Outcome = "skip"          // no case could run
	NotRun  Outcome = "not run"       // excluded by -run, or Open ended the test of each case
)

// Report is the result of a run of the suite.
type Report struct {
	// Took is the duration of the run.
	Took time.Duration

	broker  string
	once    sync.Once // fills in broker
	clauses []Clause
	results []result
}

type result struct {
	c   Case
	err error
}

// Row is a clause and its outcome.
type Row struct {
	Clause  Clause
	Outcome Outcome
	// Passed, Failed, Broken and Skipped are the names of the cases with each outcome.
	Passed, Failed, Broken, Skipped []string
	// Reasons of the skipped cases, each once.
	Reasons []string
}

func (r *Report) add(c Case, err error) { r.results = append(r.results, result{c, err}) }

// Rows returns one row for each clause, in order. The caller owns the rows and their slices.
func (r *Report) Rows() []Row {
	rows := make([]Row, len(r.clauses))
	for i, c := range r.clauses {
		rows[i] = Row{Clause: c, Outcome: NotRun}
	}
	for _, res := range r.results {
		for _, c := range res.c.Clauses {
			row := &rows[c-r.clauses[0]]
			var skipped *Skip
			var failure *Failure
			switch {
			case res.err == nil:
				row.Passed = append(row.Passed, res.c.Name)
			case errors.As(res.err, &skipped):
				row.Skipped = append(row.Skipped, res.c.Name)
				if !slices.Contains(row.Reasons, skipped.Reason) {
					row.Reasons = append(row.Reasons, skipped.Reason)
				}
			case errors.As(res.err, &failure):
				row.Failed = append(row.Failed, res.c.Name)
			default:
				row.Broken = append(row.Broken, res.c.Name)
			}
		}
	}
	for i := range rows {
		row := &rows[i]
		switch {
		case row.Failed != nil:
			row.Outcome = Failed
		case row.Broken != nil:
			row.Outcome = Broken
		case row.Passed != nil && row.Skipped != nil:
			row.Outcome = Part
		case row.Passed != nil:
			row.Outcome = Pass
		case row.Skipped != nil:
			row.Outcome = Skipped
		}
	}
	return rows
}

// String returns the row in one line, such as "B7 pass" or "B22 skip (reason)".
func (r Row) String() string {
	s := fmt.Sprintf("%v %s", r.Clause, r.Outcome)
	var notes []string
	if r.Failed != nil {
		notes = append(notes, "failed: "+strings.Join(r.Failed, ", "))
	}
	if r.Broken != nil {
		notes = append(notes, "the harness failed: "+strings.Join(r.Broken, ", "))
	}
	if r.Skipped != nil {
		notes = append(notes, "not tried: "+strings.Join(r.Skipped, ", ")+": "+strings.Join(r.Reasons, "; "))
	}
	if notes == nil {
		return s
	}
	return s + " (" + strings.Join(notes, "; ") + ")"
}

// Markdown returns the table of all clauses, for a document.
func (r *Report) Markdown() string {
	var b strings.Builder
	b.WriteString("| clause | outcome | cases | not tried |\n|---|---|---|---|\n")
	for _, row := range r.Rows() {
		fmt.Fprintf(&b, "| %v | %s | %s | %s |\n", row.Clause, row.Outcome,
			strings.Join(slices.Concat(row.Passed, row.Failed, row.Broken), ", "),
			strings.Join(append(slices.Clone(row.Skipped), row.Reasons...), ", "))
	}
	return b.String()
}

// attribute is the value of a test attribute named conformance, as JSON: one cell of a table of clauses and brokers.
type attribute struct {
	Broker  string   `json:"broker"`
	Clause  string   `json:"clause"`
	Text    string   `json:"text"`
	Outcome Outcome  `json:"outcome"`
	Cases   int      `json:"cases"` // number of cases that ran
	Skipped []string `json:"skipped,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

func (r *Report) attributes(t *testing.T) {
	for _, row := range r.Rows() {
		value, err := json.Marshal(attribute{
			Broker: r.broker, Clause: row.Clause.String(), Text: row.Clause.Text(), Outcome: row.Outcome,
			Cases: len(row.Passed) + len(row.Failed) + len(row.Broken), Skipped: row.Skipped, Reasons: row.Reasons,
		})
		if err != nil {
			t.Errorf("conformance: %v", err)
		}
		t.Attr("conformance", string(value))
	}
}
