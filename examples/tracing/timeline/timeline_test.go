package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two exports of one trace, as the SDKs of Go and JavaScript write them, and another one.
const sample = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web <1>"}}]},"scopeSpans":[{"spans":[` +
	`{"traceId":"aa","spanId":"01","name":"POST /","kind":"SPAN_KIND_SERVER","startTimeUnixNano":"1000000","endTimeUnixNano":"3000000"},` +
	`{"traceId":"aa","spanId":"02","parentSpanId":"01","name":"query members /","kind":"SPAN_KIND_CLIENT","startTimeUnixNano":"1500000","endTimeUnixNano":"2500000",` +
	`"attributes":[{"key":"crossroom.nodes.expected","value":{"intValue":"2"}},{"key":"crossroom.nodes.answered","value":{"intValue":"1"}}],` +
	`"events":[{"name":"answer","timeUnixNano":"2000000","attributes":[{"key":"crossroom.node","value":{"stringValue":"web-2"}}]}],` +
	`"status":{"code":"STATUS_CODE_ERROR","message":"no answer from web-3"}},` +
	`{"traceId":"bb","spanId":"01","name":"older","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}
{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"courier"}}]},"scopeSpans":[{"spans":[` +
	`{"traceId":"aa","spanId":"03","parentSpanId":"01","name":"deliver /#{room}","kind":5,"startTimeUnixNano":"1200000","endTimeUnixNano":"1400000",` +
	`"attributes":[{"key":"messaging.destination.name","value":{"stringValue":"/#red"}},{"key":"crossroom.members.delivered","value":{"intValue":312}}],"status":{"code":0}}]}]}]}
`

func TestTimeline(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(sample), 0o600))
	var out bytes.Buffer
	require.NoError(t, run(file, "", &out))
	svg := out.String()
	for dec := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("no XML: %v", err)
		}
	}
	last := 0
	for _, want := range []string{"POST /, through 2 services", "trace aa · 3 spans · 2 ms", "web &lt;1&gt;", ">POST /<", ">deliver /#{room}<", "200 µs · red: 312 sockets", ">query members /<", "answer web-2", "no answer from web-3"} {
		i := strings.Index(svg[last:], want)
		require.GreaterOrEqual(t, i, 0, "no %q after %q", want, svg[:last])
		last += i
	}
	assert.NotContains(t, svg, "var(", "a viewer may know no variables of CSS")
	assert.NotRegexp(t, `<(rect|circle|line|path|text) [^>]*class="[^"]*"( [^fs][^>]*)?>`, svg, "an element without a colour of its own")
	assert.NotContains(t, svg, "older", "a span of another trace")
	out.Reset()
	require.NoError(t, run(file, "bb", &out))
	assert.Contains(t, out.String(), "older", "trace bb")
	assert.Error(t, run(file, "cc", &out), "a trace that is not there")
	require.NoError(t, os.WriteFile(file, []byte("{\n"), 0o600))
	assert.Error(t, run(file, "", &out), "no JSON")
}
