package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain makes this program a go test command, too: it prints what the variable says.
func TestMain(m *testing.M) {
	if second, ok := os.LookupEnv("SECOND_RUN"); ok {
		fmt.Print(second)
		if strings.Contains(second, `"fail"`) {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const stream = `{"Action":"start","Package":"x/a"}
{"Action":"run","Package":"x/a","Test":"TestGood"}
{"Action":"output","Package":"x/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"pass","Package":"x/a","Test":"TestGood"}
{"Action":"run","Package":"x/a","Test":"TestGroup"}
{"Action":"run","Package":"x/a","Test":"TestGroup/one"}
{"Action":"output","Package":"x/a","Test":"TestGroup/one","Output":"    a_test.go:7: SKIPPED-SERVER: no redis-server\n"}
{"Action":"output","Package":"x/a","Test":"TestGroup/one","Output":"--- SKIP: TestGroup/one (0.00s)\n"}
{"Action":"skip","Package":"x/a","Test":"TestGroup/one"}
{"Action":"pass","Package":"x/a","Test":"TestGroup"}
`

func run(t *testing.T, in string, strict bool) (string, bool) {
	t.Helper()
	var out strings.Builder
	s := newSummary(&out)
	require.NoError(t, s.read(strings.NewReader(in)))
	ok := s.print(strict)
	return out.String(), ok
}

func TestSummary(t *testing.T) {
	good := stream + `{"Action":"pass","Package":"x/a","Elapsed":1}` + "\n"
	bad := stream + `{"Action":"run","Package":"x/a","Test":"TestBad"}
{"Action":"output","Package":"x/a","Test":"TestBad","Output":"    a_test.go:9: broken\n"}
{"Action":"fail","Package":"x/a","Test":"TestBad"}
{"Action":"fail","Package":"x/a","Elapsed":1}
`
	for _, c := range []struct {
		name, in string
		strict   bool
		ok       bool
		want     string
	}{
		{"good", good, false, true, "1 passed, 0 of them unsteady, 0 failed, 1 skipped"},
		{"strict", good, true, false, "  SKIPPED-SERVER: no redis-server\n      a: TestGroup/one"},
		{"strict and bad", good + bad, true, false, "2 tests were skipped for lack of a server"},
		{"bad", bad, false, false, "broken"},
		{"nothing", "", false, false, "no test ran"},
		{"build", `{"ImportPath":"x/a","Action":"build-output","Output":"undefined: y\n"}` + "\n" + `{"ImportPath":"x/a","Action":"build-fail"}`, false, false, "undefined: y"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, ok := run(t, c.in, c.strict)
			assert.Equal(t, c.ok, ok)
			assert.Contains(t, out, c.want)
		})
	}
}

func TestAgain(t *testing.T) {
	const (
		start = `{"Action":"run","Package":"x/a","Test":"TestBad/one"}
`
		passes = start + `{"Action":"pass","Package":"x/a","Test":"TestBad/one"}
{"Action":"pass","Package":"x/a","Test":"TestBad"}
{"Action":"pass","Package":"x/a"}
`
		fails = start + `{"Action":"fail","Package":"x/a","Test":"TestBad/one"}
{"Action":"fail","Package":"x/a","Test":"TestBad"}
{"Action":"fail","Package":"x/a"}
{"Action":"exit","Value":"1"}
`
	)
	many := ""
	for i := range maxAgain + 1 {
		many += strings.ReplaceAll(fails, "TestBad", fmt.Sprint("TestBad", i))
	}
	output := func(text string) string {
		return fmt.Sprintf(`{"Action":"output","Package":"x/a","Test":"TestBad/one","Output":%q}`+"\n", text)
	}
	for _, c := range []struct {
		name, first, second string
		want                string
	}{
		{"unsteady", stream + fails, passes, "2 passed, 1 of them unsteady, 0 failed, 1 skipped"},
		{"fails again", stream + fails, fails, "1 passed, 0 of them unsteady, 1 failed"},
		{"does not run again", stream + fails, "", "0 of them unsteady, 1 failed"},
		{"a race", stream + output("WARNING: DATA RACE\n") + fails, passes, "0 of them unsteady, 1 failed"},
		{"a panic", stream + output("panic: oh\n") + fails, passes, "0 of them unsteady, 1 failed"},
		{"many", stream + many, passes, "0 of them unsteady, 6 failed"},
		{"a package", stream + `{"Action":"fail","Package":"x/a"}` + "\n" + fails, passes, "0 of them unsteady, 2 failed"},
		{"a build", stream + fails + `{"ImportPath":"x/a","Action":"build-fail"}`, passes, "0 of them unsteady, 2 failed"},
		{"the command", stream + `{"Action":"exit","Value":"1"}`, passes, "0 of them unsteady, 1 failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SECOND_RUN", c.second)
			var out strings.Builder
			s := newSummary(&out)
			require.NoError(t, s.read(strings.NewReader(c.first)))
			s.again([]string{os.Args[0]})
			ok := s.print(false)
			assert.Contains(t, out.String(), c.want)
			assert.Equal(t, strings.Contains(c.want, " 0 failed"), ok)
			assert.Equal(t, ok, strings.Contains(out.String(), "passed alone:\n  x/a TestBad\n"))
		})
	}
}

// The summary repeats the first data races, which are far above it in the output of a long run.
func TestRacesAreRepeated(t *testing.T) {
	var in, out strings.Builder
	for n := range maxRaces + 1 {
		for _, line := range []string{"WARNING: DATA RACE\n", fmt.Sprintf("Read %d by goroutine 7:\n", n), "==================\n", "after\n"} {
			fmt.Fprintf(&in, `{"Action":"output","Package":"x/a","Test":"TestRacy","Output":%q}`+"\n", line)
		}
	}
	in.WriteString(`{"Action":"fail","Package":"x/a","Test":"TestRacy"}` + "\n")
	s := newSummary(&out)
	require.NoError(t, s.read(strings.NewReader(in.String())))
	require.False(t, s.print(false))
	_, end, found := strings.Cut(out.String(), "0 passed, ")
	require.True(t, found)
	assert.Contains(t, end, "\nWARNING: DATA RACE\nRead 0 by goroutine 7:\n\nWARNING: DATA RACE\nRead 1 by goroutine 7:\n")
	assert.Equal(t, maxRaces, strings.Count(end, "WARNING: DATA RACE"))
	assert.NotContains(t, end, "after")
}
