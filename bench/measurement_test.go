package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestBarsAreJudgedByTheMedianOfRoundByRoundRatios(t *testing.T) {
	r := results{
		"a": {{{cpu, 100}}, {{cpu, 400}}, {{cpu, 90}}},
		"b": {{{cpu, 50}}, {{cpu, 100}}, {{cpu, 30}}}, // 2, 4, 3
		"c": {{{cpu, 10}}, {{cpu, 10}}, {{cpu, 10}}},  // 2.25, 4.33, 4 beyond it
	}
	bars := []bar{
		atLeast(3, "reached", times(cpu, "a", "b")),
		atLeast(3.1, "missed", times(cpu, "a", "b")),
		atMost(4, "kept", timesBeyond("c", cpu, "a", "b")),
		atMost(20, "passed", more(cpu, "a", "b")),     // 50, 300, 60
		atMost(6, "added", added(cpu, "a", "b", "c")), // 5, 30, 6
		atMost(1, "left out", times(cpu, "a", "d")),
	}
	var out strings.Builder
	if printVerdicts(&out, judge(bars, r)) {
		t.Error("two bars are short, and that was not reported")
	}
	var got []string
	for l := range strings.Lines(out.String()) {
		if f := strings.Fields(l); len(f) > 0 && f[0] == "bar" {
			got = append(got, strings.Join(f, " "))
		}
	}
	want := []string{
		"bar reached 3.00 (2.50 to 3.50) ≥ 3.00 ok",
		"bar missed 3.00 (2.50 to 3.50) ≥ 3.10 short",
		"bar kept 4.00 (3.12 to 4.17) ≤ 4.00 ok",
		"bar passed 60.0 (55.0 to 180) ≤ 20.0 short",
		"bar added 6.00 (5.50 to 18.0) ≤ 6.00 ok",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// stageNames keeps in which order contenders are opened, do a round and are closed.
type stageNames struct{ seen []string }

func (n *stageNames) contender(name string) contender {
	return contender{name, func(_ context.Context, s *stage) (round, error) {
		n.seen = append(n.seen, "open "+name)
		s.later(func() error { n.seen = append(n.seen, "close "+name); return nil })
		return func(context.Context) (int64, figures, error) {
			if s.length == s.env.length { // not the warming up
				n.seen = append(n.seen, name)
			}
			return 1, figures{{"at", float64(len(n.seen))}}, nil
		}, nil
	}}
}

func TestContendersTakeTurns(t *testing.T) {
	for name, x := range map[string]struct {
		kept bool
		want string
	}{
		"kept":        {true, "open a, a, open c, c, c, a, c, a, close a, close c"},
		"opened anew": {false, "open a, a, close a, open c, c, close c, open c, c, close c, open a, a, close a, open c, c, close c, open a, a, close a"},
	} {
		t.Run(name, func(t *testing.T) {
			var n stageNames
			m := measurement{name: "m", kept: x.kept, contenders: []contender{n.contender("a"), n.contender("b"), n.contender("c")}}
			var out strings.Builder
			r, err := m.run(context.Background(), &env{rounds: 3, length: time.Second}, regexp.MustCompile("^m/[ac]$"), &out)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(n.seen, ", "); got != x.want {
				t.Errorf("order\n%s, want\n%s", got, x.want)
			}
			if got := r.column("c", "at"); len(got) != 3 || got[0] >= got[1] || got[1] >= got[2] {
				t.Errorf("c has %v", got)
			}
			if got := r.column("a", cpu); len(got) != 3 {
				t.Errorf("the processor time of a's rounds: %v", got)
			}
		})
	}
}

func TestAnErrorClosesEveryContender(t *testing.T) {
	var n stageNames
	broken := errors.New("broken")
	m := measurement{name: "m", kept: true, contenders: []contender{
		n.contender("a"),
		{"b", func(context.Context, *stage) (round, error) { return nil, broken }},
	}}
	var out strings.Builder
	_, err := m.run(context.Background(), &env{rounds: 3, length: time.Second}, regexp.MustCompile(""), &out)
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "m/b: ") {
		t.Errorf("got %v", err)
	}
	if got, want := strings.Join(n.seen, ", "), "open a, a, close a"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
}

func TestEveryMeasurementHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	note := func(name string) {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
	}
	for _, m := range table {
		note(m.name)
		for _, c := range m.contenders {
			note(m.name + "/" + c.name)
		}
		for _, b := range m.bars {
			note("bar " + b.name)
		}
	}
}

// Otherwise a bar is never judged: contenders that are left out are no error.
func TestBarsNameContendersOfTheirMeasurement(t *testing.T) {
	for _, m := range table {
		r := results{}
		for _, c := range m.contenders {
			r[c.name] = []figures{{{cpu, 1}, {allocs, 1}, {membershipSize, 1}}}
		}
		if got := judge(m.bars, r); len(got) != len(m.bars) {
			t.Errorf("%s: %d bars of %d have a figure", m.name, len(got), len(m.bars))
		}
	}
}

func TestReportReplacesWhatIsBetweenTheMarks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(name, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := measurement{
		name: "m", what: "a message",
		contenders: []contender{{"a", nil}, {"b", nil}},
		bars:       []bar{atMost(2, "a message: CPU", times(cpu, "a", "b"))},
	}
	r := report{about: "here"}
	r.add(m, results{"a": {{{cpu, 1500}, {speed, 250_000}}}, "b": {{{cpu, 1000}, {speed, 300_000}}}})
	want := "before\n" + beginMark + `
here.

| | median | quartiles | bar |
|---|---|---|---|
| a message: CPU | 1.50 | 1.50 to 1.50 | at most 2.00 |

No bars, because they are times: a message.

| | a second | CPU, µs |
|---|---|---|
| a | 250,000 | 1.50 |
| b | 300,000 | 1.00 |

` + endMark + "after\n"
	for range 2 {
		if err := r.writeTo(name); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Fatalf("%v\n%s", err, got)
		}
	}
	if err := os.WriteFile(name, []byte(endMark+beginMark), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.writeTo(name); err == nil {
		t.Error("a file without marks in this order was written to")
	}
}

func TestProcessorTimeOfAnotherProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("known on Linux only")
	}
	if got := processCPU(os.Getpid()); got <= 0 || got > time.Hour {
		t.Errorf("this process has used %v", got)
	}
}
