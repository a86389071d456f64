package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// cell is one attribute of package conformance: the outcome of a clause on a broker.
type cell struct {
	Broker, Clause, Text, Outcome string
	Cases                         int
	Skipped, Reasons              []string
}

// table is clauses by brokers.
type table struct {
	brokers []string        // in the order of the columns
	ran     map[string]bool // with at least one clause tested or skipped
	clauses []string
	texts   map[string]string
	cells   map[[2]string]cell
	sources map[[2]string]string // the tests that reported the cells
}

// expect adds columns for these brokers, also if their tests do not run.
func (t *table) expect(names string) {
	for name := range strings.SplitSeq(names, ",") {
		if name != "" {
			t.brokers = append(t.brokers, name)
		}
	}
}

// add adds one attribute. source is the test that reported it.
func (t *table) add(source, value string) error {
	var c cell
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		return err
	}
	if c.Broker == "" || clauseLess(c.Clause, c.Clause) != 0 || c.Outcome == "" {
		return fmt.Errorf("not a result of a clause: %s", value)
	}
	if t.cells == nil {
		t.ran, t.texts = make(map[string]bool), make(map[string]string)
		t.cells, t.sources = make(map[[2]string]cell), make(map[[2]string]string)
	}
	// Two tests whose brokers have the same name get two columns. A second run of one test replaces the first.
	if first, again := t.sources[[2]string{c.Clause, c.Broker}]; again && first != source {
		c.Broker += " of " + source
	}
	if c.Outcome != "not run" { // as all are without a server
		t.ran[c.Broker] = true
	}
	if !slices.Contains(t.brokers, c.Broker) {
		t.brokers = append(t.brokers, c.Broker)
	}
	if !slices.Contains(t.clauses, c.Clause) {
		t.clauses = append(t.clauses, c.Clause)
	}
	t.texts[c.Clause], t.cells[[2]string{c.Clause, c.Broker}] = c.Text, c
	t.sources[[2]string{c.Clause, c.Broker}] = source
	return nil
}

// absent lists the brokers without any result.
func (t *table) absent() (list []string) {
	for _, b := range t.brokers {
		if !t.ran[b] {
			list = append(list, b)
		}
	}
	return list
}

// clauseLess orders B2 before B10 before F1.
func clauseLess(a, b string) int {
	if a == "" || b == "" {
		return -1
	}
	if c := strings.Compare(a[:1], b[:1]); c != 0 {
		return c
	}
	x, err := strconv.Atoi(a[1:])
	y, berr := strconv.Atoi(b[1:])
	if err != nil || berr != nil {
		return -1
	}
	return x - y
}

// words are the table's texts for outcomes. A missing outcome did not run.
var words = map[string]string{"pass": "pass", "pass, in part": "part", "skip": "skip", "fail": "FAIL", "harness fails": "HARNESS", "": "–", "not run": "–"}

// print writes the table, followed by the reasons of the cells that did not pass.
func (t *table) print(out io.Writer) {
	if len(t.clauses) == 0 {
		return
	}
	slices.SortFunc(t.clauses, clauseLess)
	fmt.Fprint(out, "\nclause by broker:\n\n     ")
	for _, b := range t.brokers {
		fmt.Fprintf(out, "  %s", b)
	}
	fmt.Fprintln(out)
	for _, clause := range t.clauses {
		fmt.Fprintf(out, "  %-3s", clause)
		for _, b := range t.brokers {
			outcome := t.cells[[2]string{clause, b}].Outcome
			word, ok := words[outcome]
			if !ok {
				word = outcome
			}
			// The dash is one column wide and three bytes long.
			fmt.Fprintf(out, "  %s%s", word, strings.Repeat(" ", max(0, len(b)-len([]rune(word)))))
		}
		fmt.Fprintf(out, "  %s\n", clip(t.texts[clause], 60))
	}
	t.notes(out)
}

// notes lists the skipped cases, by broker and reason.
func (t *table) notes(out io.Writer) {
	fmt.Fprintln(out, "\n  part: some cases of the clause could not run; skip: none could; HARNESS: it failed, not the broker; –: did not run")
	for _, b := range t.brokers {
		if slices.Contains(t.absent(), b) {
			fmt.Fprintf(out, "  %s: the suite did not run\n", b)
			continue
		}
		clauses, cases := make(map[string][]string), make(map[string][]string)
		var reasons []string
		for _, clause := range t.clauses {
			c := t.cells[[2]string{clause, b}]
			reason := strings.Join(c.Reasons, "; ")
			if reason == "" {
				continue
			}
			if clauses[reason] == nil {
				reasons = append(reasons, reason)
			}
			clauses[reason] = append(clauses[reason], clause)
			for _, name := range c.Skipped {
				if !slices.Contains(cases[reason], name) {
					cases[reason] = append(cases[reason], name)
				}
			}
		}
		for _, reason := range reasons {
			fmt.Fprintf(out, "  %s, %s: %s not run: %s\n", b, strings.Join(clauses[reason], " "), strings.Join(cases[reason], ", "), reason)
		}
	}
}

// clip shortens a clause's text to about n bytes, at a word.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:strings.LastIndexByte(s[:n], ' ')] + " …"
}
