package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
		{"good", good, false, true, "1 passed, 0 failed, 1 skipped"},
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
