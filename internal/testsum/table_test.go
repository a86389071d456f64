package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// attr is the line of a test attribute.
func attr(t *testing.T, test, key string, value any) string {
	t.Helper()
	text, ok := value.(string)
	if !ok {
		data, err := json.Marshal(value)
		require.NoError(t, err)
		text = string(data)
	}
	line, err := json.Marshal(event{Action: "attr", Package: "x/a", Test: test, Key: key, Value: text})
	require.NoError(t, err)
	return string(line) + "\n"
}

func TestTable(t *testing.T) {
	in := stream
	for _, c := range []cell{
		{Broker: "memory", Clause: "B10", Text: "Ten.", Outcome: "pass", Cases: 2},
		{Broker: "memory", Clause: "B2", Text: "Two.", Outcome: "pass, in part", Cases: 1, Skipped: []string{"B02_Slow"}, Reasons: []string{"lacks the power slow-link"}},
		{Broker: "memory", Clause: "F1", Text: "A fleet.", Outcome: "skip", Skipped: []string{"F01_Cut"}, Reasons: []string{"lacks the power interrupt"}},
		{Broker: "redis", Clause: "B2", Text: "Two.", Outcome: "fail", Cases: 1},
		{Broker: "redis", Clause: "B10", Text: "Ten.", Outcome: "not run"},
		{Broker: "nats", Clause: "B2", Text: "Two.", Outcome: "not run"},
	} {
		in += attr(t, "TestConformance", "conformance", c)
	}
	in += attr(t, "TestOther", "conformance", cell{Broker: "redis", Clause: "B2", Text: "Two.", Outcome: "pass"})
	in += attr(t, "TestSoak", "figure", "soak: 1000 runs, no violation")
	for _, test := range []string{"TestOutage/b", "TestOutage/a", "TestOutage/b"} {
		in += attr(t, test, "outcome", "outcome of "+test)
	}
	in += attr(t, "TestMutants", "mutant", "killed  drops one in a thousand  by B02_Order")

	var out strings.Builder
	s := newSummary(&out)
	s.table.expect("memory,redis,nats")
	require.NoError(t, s.read(strings.NewReader(in)))
	assert.False(t, s.print(true), "a broker that did not run is no failure though -strict is given")
	for _, want := range []string{
		"       memory  redis  nats  redis of x/a TestOther\n",
		"  B2   part    FAIL   –     pass                    Two.\n",
		"  B10  pass    –      –     –                       Ten.\n",
		"  F1   skip    –      –     –                       A fleet.\n",
		"  memory, B2: B02_Slow not run: lacks the power slow-link\n",
		"  nats: the suite did not run\n",
		"outcomes of outages:\n  outcome of TestOutage/a\n  outcome of TestOutage/b\n  outcome of TestOutage/b\n",
		"figures:\n  soak: 1000 runs, no violation\n",
		"killed  drops one in a thousand  by B02_Order\n",
		"the conformance suite was not run on: nats\n",
	} {
		assert.Contains(t, out.String(), want, "no in\n%s", &out)
	}
	assert.LessOrEqual(t, strings.Index(out.String(), "\n  B2 "), strings.Index(out.String(), "\n  B10"), "B10 stands before B2")
}

func TestBadAttribute(t *testing.T) {
	for _, value := range []string{"no JSON", `{}`, `{"broker":"x","clause":"","outcome":"pass"}`, `{"broker":"x","clause":"B","outcome":"pass"}`} {
		out, ok := run(t, stream+attr(t, "TestConformance", "conformance", value), false)
		assert.False(t, ok, value)
		assert.Contains(t, out, "attribute conformance", value)
	}
}
