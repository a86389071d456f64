package conformance_test

import (
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/crossroom/crossroom/conformance"
)

// documented reads the clauses out of package broker's documentation.
func documented(t *testing.T) map[int]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../broker/doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	first := regexp.MustCompile(`^\tB(\d+)\s+(.*)$`)
	clauses := map[int]string{}
	current := 0
	for line := range strings.Lines(file.Doc.Text()) {
		line = strings.TrimRight(line, "\n")
		switch m := first.FindStringSubmatch(line); {
		case m != nil:
			current, _ = strconv.Atoi(m[1])
			if _, twice := clauses[current]; twice {
				t.Errorf("B%d is there twice", current)
			}
			clauses[current] = m[2]
		case current > 0 && strings.HasPrefix(line, "\t"):
			clauses[current] += " " + strings.TrimSpace(line)
		default:
			current = 0
		}
	}
	return clauses
}

func TestClausesAreThoseOfTheContract(t *testing.T) {
	clauses := documented(t)
	if len(clauses) != conformance.Clauses {
		t.Errorf("the contract has %d clauses, the suite %d", len(clauses), conformance.Clauses)
	}
	for n, text := range clauses {
		if got := conformance.Clause(n); got != text {
			t.Errorf("B%d\n is   %s\n not  %s", n, text, got)
		}
	}
}

func TestEveryClauseHasACase(t *testing.T) {
	main := map[int]bool{}
	names := map[string]bool{}
	for _, c := range conformance.Cases() {
		if names[c.Name] {
			t.Errorf("two cases are called %s", c.Name)
		}
		names[c.Name] = true
		for _, n := range c.Clauses {
			if n < 1 || n > conformance.Clauses {
				t.Errorf("%s is for B%d, which is no clause", c.Name, n)
			}
		}
		main[c.Clauses[0]] = true
		if want := regexp.MustCompile(`^B(\d\d)_[A-Z]`).FindStringSubmatch(c.Name); want == nil {
			t.Errorf("%s is not named like B07_Overwritten", c.Name)
		} else if n, _ := strconv.Atoi(want[1]); n != c.Clauses[0] {
			t.Errorf("%s has B%d as its main clause", c.Name, c.Clauses[0])
		}
	}
	for n := range documented(t) {
		if !main[n] {
			t.Errorf("B%d has no case of its own", n)
		}
	}
}
