// Command testsum reads the output of go test -json and prints it for people: one line for each package as it ends,
// the whole output of failures, and a summary. The summary has every skipped test with its reason, figures and
// outcomes that tests report as attributes, and the table of clauses and brokers from the runs of package conformance.
// The exit status is 1 if a test failed, if no test ran, or, with -strict, if a test was skipped for lack of a server
// or a broker named in -brokers is missing from the table.
//
// The arguments are a go test command. When at most five tests have failed, the command runs each of them once more,
// alone. A test that passes then is listed in the summary as unsteady, and is not a failure. A data race, a panic, a
// build that fails, and a package that fails without a failed test are always failures.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"time"
)

// event is one line of go test -json, documented by go doc test2json, or of the go command's own build output.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
	Key, Value string // of a test attribute
}

type outcome struct {
	pkg, test string
	output    []string
}

type summary struct {
	out            io.Writer
	passed, failed int
	packages       int
	skipped        []outcome
	output         map[string][]string // by package and test, while they run
	children       map[string]bool     // tests that have subtests
	began          time.Time
	table          table
	figures        []string
	mutants        []string
	outcomes       []outcome // output: one line
	suspects       []suspect // the tests of top level that failed
	firm           bool      // a failure that no second run excuses
	races          []string  // what the race detector reported
	unsteady       []string
}

// suspect is a test of top level that failed, itself or in its subtests.
type suspect struct {
	pkg, test string
	failures  int // in summary.failed
}

// maxAgain is how many tests may fail for them to be run once more.
const maxAgain = 5

// serverMark begins the reason of a test that was skipped because this machine lacks a server or a program.
const serverMark = "SKIPPED-SERVER:"

func main() {
	strict := flag.Bool("strict", false, "fail if a test was skipped for lack of a server, or if a broker is missing from the table")
	brokers := flag.String("brokers", "", "comma-separated `names` of the brokers that the table of clauses must have")
	flag.Parse()
	s := newSummary(os.Stdout)
	s.table.expect(*brokers)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if flag.NArg() > 0 {
		s.again(flag.Args())
	}
	if !s.print(*strict) {
		os.Exit(1)
	}
}

// again runs the failed tests once more, if they are few.
func (s *summary) again(command []string) {
	if s.firm || len(s.suspects) > maxAgain {
		return
	}
	for _, failed := range s.suspects {
		fmt.Fprintf(s.out, "\nonce more, alone: %s %s\n", failed.pkg, failed.test)
		args := append(slices.Clone(command[1:]), "-run", "^"+failed.test+"$", failed.pkg)
		cmd := exec.Command(command[0], args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		second := newSummary(s.out)
		second.table = s.table
		if second.read(bytes.NewReader(out)) != nil || err != nil || second.failed > 0 || second.passed == 0 {
			continue
		}
		s.excuse(failed, second)
	}
}

// excuse takes the second run of a failed test, which passed.
func (s *summary) excuse(failed suspect, second *summary) {
	s.failed -= failed.failures
	s.passed += failed.failures
	s.table = second.table
	s.figures = append(s.figures, second.figures...)
	s.unsteady = append(s.unsteady, failed.pkg+" "+failed.test)
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: make(map[string][]string), children: make(map[string]bool), began: time.Now()}
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				s.out.Write(line) // output of the go command itself
			} else {
				s.take(&e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) take(e *event) {
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "output":
		if len(s.output[key]) < 10_000 {
			s.output[key] = append(s.output[key], e.Output)
		}
		return
	case "attr":
		s.attribute(e)
		return
	case "build-output":
		fmt.Fprint(s.out, e.Output)
		return
	case "build-fail":
		s.failed++
		s.firm = true
		return
	case "exit": // of scripts/test: the status of go test
		if e.Value != "0" && s.failed == 0 {
			fmt.Fprintln(s.out, "go test failed, and no test did")
			s.failed++
			s.firm = true
		}
		return
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			s.children[e.Package+"\x00"+e.Test[:i]] = true
		}
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	lines := s.output[key]
	delete(s.output, key)
	if e.Test == "" {
		s.endPackage(e, lines)
		return
	}
	s.races = append(s.races, races(lines)...)
	switch e.Action {
	case "pass":
		if !s.children[key] {
			s.passed++
		}
	case "fail":
		s.suspect(e, s.children[key], lines)
		fmt.Fprintf(s.out, "FAIL  %s %s\n%s", e.Package, e.Test, strings.Join(lines, ""))
	case "skip":
		s.skipped = append(s.skipped, outcome{e.Package, e.Test, lines})
	}
}

func (s *summary) endPackage(e *event, lines []string) {
	if e.Action == "skip" {
		return // has no tests
	}
	s.packages++
	word := "ok   "
	if e.Action == "fail" {
		word = "FAIL "
		// A package can fail without any of its tests failing.
		if !slices.ContainsFunc(s.suspects, func(f suspect) bool { return f.pkg == e.Package }) {
			s.failed++
			s.firm = true
		}
		s.firm = s.firm || slices.ContainsFunc(lines, final)
		s.races = append(s.races, races(lines)...)
		fmt.Fprint(s.out, strings.Join(lines, ""))
	}
	fmt.Fprintf(s.out, "%s %6.1fs  %s\n", word, e.Elapsed, e.Package)
}

// suspect records the failure of a test. The failure of a test with subtests is that of its subtests.
func (s *summary) suspect(e *event, parent bool, lines []string) {
	s.firm = s.firm || slices.ContainsFunc(lines, final)
	top, _, _ := strings.Cut(e.Test, "/")
	i := slices.IndexFunc(s.suspects, func(f suspect) bool { return f.pkg == e.Package && f.test == top })
	if i < 0 {
		i = len(s.suspects)
		s.suspects = append(s.suspects, suspect{pkg: e.Package, test: top})
	}
	if !parent || s.suspects[i].failures == 0 {
		s.suspects[i].failures++
		s.failed++
	}
}

// final reports whether a line of output shows a failure that a second run must not hide.
func final(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") ||
		strings.HasPrefix(line, "WARNING: DATA RACE") || strings.Contains(line, "race detected during execution of test")
}

// raceLines is how many lines of a data race the summary shows: two accesses, and how their goroutines began.
const raceLines = 60

// races returns the reports of the race detector in the output of a test.
func races(lines []string) (found []string) {
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "WARNING: DATA RACE") {
			continue
		}
		began := i
		for i < len(lines) && i-began < raceLines && !strings.HasPrefix(lines[i], "=====") {
			i++
		}
		found = append(found, strings.Join(lines[began:i], ""))
	}
	return found
}

// maxRaces is how many data races the summary shows.
const maxRaces = 3

// attribute records a test attribute for the summary.
func (s *summary) attribute(e *event) {
	switch e.Key {
	case "conformance":
		if err := s.table.add(e.Package+" "+e.Test, e.Value); err != nil {
			fmt.Fprintf(s.out, "FAIL  %s %s\nattribute %s: %v\n", e.Package, e.Test, e.Key, err)
			s.failed++
		}
	case "figure":
		s.figures = append(s.figures, e.Value)
	case "mutant":
		s.mutants = append(s.mutants, e.Value)
	case "outcome":
		s.outcomes = append(s.outcomes, outcome{e.Package, e.Test, []string{e.Value}})
	}
}

// print writes the summary and reports whether the run succeeded.
func (s *summary) print(strict bool) bool {
	servers := 0
	if len(s.skipped) > 0 {
		byReason := make(map[string][]string)
		for _, o := range s.skipped {
			why := reason(o.output)
			if strings.HasPrefix(why, serverMark) {
				servers++
			}
			byReason[why] = append(byReason[why], o.pkg[strings.LastIndexByte(o.pkg, '/')+1:]+": "+o.test)
		}
		reasons := make([]string, 0, len(byReason))
		for why := range byReason {
			reasons = append(reasons, why)
		}
		sort.Strings(reasons)
		fmt.Fprintf(s.out, "\nskipped, and why:\n")
		for _, why := range reasons {
			fmt.Fprintf(s.out, "  %s\n", why)
			for _, test := range byReason[why] {
				fmt.Fprintf(s.out, "      %s\n", test)
			}
		}
	} else {
		fmt.Fprintf(s.out, "\nnothing was skipped\n")
	}
	s.table.print(s.out)
	// Tests that run at the same time do not mix their lines.
	sort.SliceStable(s.outcomes, func(i, j int) bool {
		a, b := s.outcomes[i], s.outcomes[j]
		return a.pkg < b.pkg || a.pkg == b.pkg && a.test < b.test
	})
	var outcomes []string
	for _, o := range s.outcomes {
		outcomes = append(outcomes, o.output...)
	}
	for _, list := range []struct {
		title string
		lines []string
	}{{"mutants, and the case that detected each:", s.mutants}, {"outcomes of outages:", outcomes}, {"figures:", s.figures}} {
		if len(list.lines) > 0 {
			fmt.Fprintf(s.out, "\n%s\n  %s\n", list.title, strings.Join(list.lines, "\n  "))
		}
	}
	if len(s.unsteady) > 0 {
		fmt.Fprintf(s.out, "\nunsteady: failed beside other tests, and passed alone:\n  %s\n", strings.Join(s.unsteady, "\n  "))
	}
	absent := s.table.absent()
	fmt.Fprintf(s.out, "\n%d packages in %v\n%d passed, %d of them unsteady, %d failed, %d skipped\n",
		s.packages, time.Since(s.began).Round(100*time.Millisecond), s.passed, len(s.unsteady), s.failed, len(s.skipped))
	for _, report := range s.races[:min(len(s.races), maxRaces)] {
		fmt.Fprintf(s.out, "\n%s", report)
	}
	// Report all problems, so that a failed test does not hide a missing server.
	ok := s.failed == 0
	if s.passed == 0 {
		ok = false
		fmt.Fprintln(s.out, "no test ran")
	}
	if strict && len(absent) > 0 {
		ok = false
		fmt.Fprintf(s.out, "the conformance suite was not run on: %s\n", strings.Join(absent, ", "))
	}
	if strict && servers > 0 {
		ok = false
		fmt.Fprintf(s.out, "%d tests were skipped for lack of a server\n", servers)
	}
	return ok
}

// reason returns the last message of a skipped test, without its file and line.
func reason(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") {
			continue
		}
		if at := strings.Index(line, serverMark); at >= 0 {
			return line[at:]
		}
		if at := strings.Index(line, ".go:"); at >= 0 {
			if colon := strings.Index(line[at:], ": "); colon >= 0 {
				return line[at+colon+2:]
			}
		}
		return line
	}
	return "no reason given"
}
