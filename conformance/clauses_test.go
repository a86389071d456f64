package conformance_test

import (
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/crossroom/crossroom/conformance"
)

// documented reads the clauses from a package's documentation.
func documented(t *testing.T, path, letter string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	first := regexp.MustCompile(`^\t(` + letter + `\d+)\s+(.*)$`)
	clauses := map[string]string{}
	current := ""
	for line := range strings.Lines(file.Doc.Text()) {
		line = strings.TrimRight(line, "\n")
		switch m := first.FindStringSubmatch(line); {
		case m != nil:
			current = m[1]
			if _, twice := clauses[current]; twice {
				t.Errorf("%s is defined twice", current)
			}
			clauses[current] = m[2]
		case current != "" && strings.HasPrefix(line, "\t"):
			clauses[current] += " " + strings.TrimSpace(line)
		default:
			current = ""
		}
	}
	return clauses
}

// lists are the two lists of clauses, each with its documentation and its cases.
var lists = []struct {
	letter, path string
	clauses      []conformance.Clause
	cases        []conformance.Case
}{
	{"B", "../broker/doc.go", conformance.BrokerClauses(), conformance.Cases()},
	{"F", "doc.go", conformance.FleetClauses(), conformance.FleetCases()},
}

func TestClausesAreThoseOfTheDocumentation(t *testing.T) {
	for _, l := range lists {
		texts := documented(t, l.path, l.letter)
		if len(texts) != len(l.clauses) {
			t.Errorf("%s has %d clauses, the suite %d", l.path, len(texts), len(l.clauses))
		}
		for i, c := range l.clauses {
			if name := l.letter + strconv.Itoa(i+1); c.String() != name {
				t.Errorf("%v instead of %s", c, name)
			}
			if text := texts[c.String()]; c.Text() != text {
				t.Errorf("%v\n is   %s\n not  %s", c, text, c.Text())
			}
		}
	}
}

func TestEveryClauseHasACase(t *testing.T) {
	for _, l := range lists {
		main := map[conformance.Clause]bool{}
		names := map[string]bool{}
		for _, c := range l.cases {
			if names[c.Name] {
				t.Errorf("two cases are called %s", c.Name)
			}
			names[c.Name] = true
			for _, n := range c.Clauses {
				if !slices.Contains(l.clauses, n) {
					t.Errorf("%s is for %v, which is not a clause of its list", c.Name, n)
				}
			}
			main[c.Clauses[0]] = true
			if want := regexp.MustCompile(`^([BF])(\d\d)_[A-Z]`).FindStringSubmatch(c.Name); want == nil {
				t.Errorf("%s is not named like B07_Overwritten", c.Name)
			} else if n, _ := strconv.Atoi(want[2]); want[1]+strconv.Itoa(n) != c.Clauses[0].String() {
				t.Errorf("%s has %v as its main clause", c.Name, c.Clauses[0])
			}
		}
		for _, c := range l.clauses {
			if !main[c] {
				t.Errorf("%v has no case of its own", c)
			}
		}
	}
}
