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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
	assert.False(t, printVerdicts(&out, judge(bars, r)), "two bars are short, and that was not reported")
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
	assert.Equal(t, strings.Join(want, "\n"), strings.Join(got, "\n"))
}

// stageNames records the order in which contenders are opened, do a round and are closed.
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
			require.NoError(t, err)
			assert.Equal(t, x.want, strings.Join(n.seen, ", "), "order")
			got := r.column("c", "at")
			if assert.Len(t, got, 3) {
				assert.Less(t, got[0], got[1])
				assert.Less(t, got[1], got[2])
			}
			assert.Len(t, r.column("a", cpu), 3, "the processor time of a's rounds")
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
	assert.ErrorIs(t, err, broken)
	assert.True(t, strings.HasPrefix(err.Error(), "m/b: "))
	assert.Equal(t, "open a, a, close a", strings.Join(n.seen, ", "), "order")
}

func TestEveryMeasurementHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	note := func(name string) {
		assert.False(t, seen[name], "%s is defined twice", name)
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

// Otherwise a bar is never checked, because contenders that are left out are no error.
func TestBarsNameContendersOfTheirMeasurement(t *testing.T) {
	for _, m := range table {
		r := results{}
		for _, c := range m.contenders {
			r[c.name] = []figures{{{cpu, 1}, {allocs, 1}, {membershipSize, 1}, {unwanted, 1}, {inTurns, 1}, {busiest, 1}}}
		}
		assert.Len(t, judge(m.bars, r), len(m.bars), m.name)
	}
}

func TestReportReplacesWhatIsBetweenTheMarks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "BENCHMARKS.md")
	require.NoError(t, os.WriteFile(name, []byte("before\n"+beginMark+"old\n"+endMark+"after\n"), 0o600))
	m := measurement{
		name: "m", what: "a message", speeds: true,
		contenders: []contender{{"a", nil}, {"b", nil}},
		bars:       []bar{atMost(2, "a message: CPU", times(cpu, "a", "b"))},
	}
	r := report{about: "here"}
	r.add(m, results{"a": {{{cpu, 1500}, {speed, 250}}}, "b": {{{cpu, 1000}, {speed, 1_328_822}}}})
	r.add(measurement{name: "n", what: "without speeds", contenders: m.contenders}, results{"a": {{{cpu, 1}}}, "b": {{{cpu, 1}}}})
	want := "before\n" + beginMark + `
here.

| | median | quartiles | bar |
|---|---|---|---|
| a message: CPU | 1.50 | 1.50 to 1.50 | at most 2.00 |

No bars, because they are times.

A message:

| | a second | quartiles | CPU, µs |
|---|---|---|---|
| a | 250 | 250 to 250 | 1.50 |
| b | 1,330,000 | 1,330,000 to 1,330,000 | 1.00 |

` + endMark + "after\n"
	for range 2 {
		require.NoError(t, r.writeTo(name))
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.NoError(t, os.WriteFile(name, []byte(endMark+beginMark), 0o600))
	assert.Error(t, r.writeTo(name), "a file without marks in this order was written to")
}

func TestWholeNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 7.6: "8", 999: "999", 999.9: "1,000", 1_234: "1,230", 98_765: "98,800", 999_900: "1,000,000", 1_000_000: "1,000,000",
	} {
		assert.Equal(t, want, whole(v), "%v", v)
	}
}

func TestProcessorTimeOfAnotherProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("known on Linux only")
	}
	got := processCPU(os.Getpid())
	assert.Positive(t, got, "this process has used")
	assert.LessOrEqual(t, got, time.Hour, "this process has used")
}
