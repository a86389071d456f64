package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
)

// The effect of each reading on the real receivers. Tests of package adapter expect the same of Go
// nodes.
const readingsFile = "../../adapter/internal/socketio/testdata/readings.json"

// recorded is a reading and its effect on each generation, as indexes of outcomes for v5, v6 and
// v8. What most readings have in common is omitted.
type recorded struct {
	reading
	took [3]int
}

var usualChannel = map[string]string{"broadcast": toAll, "request": requests, "response": responses}

func (r *recorded) MarshalJSON() ([]byte, error) {
	out := struct {
		Name    string `json:"name"`
		Channel string `json:"channel,omitempty"`
		Nsp     string `json:"nsp,omitempty"`
		Ask     string `json:"ask,omitempty"`
		Sender  string `json:"sender,omitempty"`
		Payload []byte `json:"payload"`
		Took    [3]int `json:"took"`
	}{r.Name, r.Channel, r.Nsp, r.Ask, r.Sender, r.Payload, r.took}
	if r.Channel == usualChannel[r.Kind] {
		out.Channel = ""
	}
	if r.Nsp == "/" {
		out.Nsp = ""
	}
	return json.Marshal(out)
}

// TestReadings gives bytes of all kinds to the real adapters of three generations, and compares the
// effects with the recorded ones.
func TestReadings(t *testing.T) {
	dir := interop.Require(t)
	list := slices.Concat(broadcastReadings(), requestReadings(), responseReadings())
	all := make([]recorded, len(list))
	names, outcomes, index := map[string]bool{}, []json.RawMessage{}, map[string]int{}
	took := map[string][]json.RawMessage{}
	for _, g := range []string{"v5", "v6", "v8"} {
		took[g] = read(t, dir, g, list)
	}
	number := func(out json.RawMessage) int {
		i, ok := index[string(out)]
		if !ok {
			i = len(outcomes)
			index[string(out)], outcomes = i, append(outcomes, out)
		}
		return i
	}
	for i, r := range list {
		assert.False(t, names[r.Name], "%s twice", r.Name)
		names[r.Name] = true
		all[i] = recorded{r, [3]int{number(took["v5"][i]), number(took["v6"][i]), number(took["v8"][i])}}
	}
	var text bytes.Buffer
	lines := func(name string, n int, line func(i int) any) {
		text.WriteString(name)
		for i := range n {
			b, err := encode(line(i))
			require.NoError(t, err)
			if i < n-1 {
				b = append(bytes.TrimSpace(b), ",\n"...)
			}
			text.Write(b)
		}
	}
	lines("{\"outcomes\": [\n", len(outcomes), func(i int) any { return outcomes[i] })
	for _, kind := range []string{"broadcast", "request", "response"} {
		some := slices.DeleteFunc(slices.Clone(all), func(r recorded) bool { return r.Kind != kind })
		lines("],\n\""+kind+"\": [\n", len(some), func(i int) any { return &some[i] })
	}
	text.WriteString("]}\n")
	if *update {
		require.NoError(t, os.WriteFile(readingsFile, text.Bytes(), 0o644))
	}
	committed, err := os.ReadFile(readingsFile)
	require.NoError(t, err)
	assert.Equal(t, text.String(), string(committed), "%s is not what this run came to; run with -update:\n%.2000s", readingsFile, differing(string(committed), text.String()))
	checkReadingsTable(t, all, outcomes)
}

// encode is json.Marshal with a newline, and without escapes for browsers.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// read gives one process all bytes that its generation can read.
func read(t *testing.T, dir, generation string, list []reading) []json.RawMessage {
	t.Helper()
	out := make([]json.RawMessage, len(list))
	var in bytes.Buffer
	var asked []int
	for i, r := range list {
		if r.Kind == "response" && r.Sender != generation {
			out[i] = json.RawMessage("null") // the generation has no such call
			continue
		}
		line, err := encode(r)
		require.NoError(t, err)
		in.Write(line)
		asked = append(asked, i)
	}
	cmd := exec.CommandContext(t.Context(), "node", "readings.js", generation)
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, &in, os.Stderr
	stdout, err := cmd.Output()
	require.NoError(t, err, generation)
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 1<<24)
	for _, i := range asked {
		require.True(t, lines.Scan(), "%s: ended at %s", generation, list[i].Name)
		require.False(t, strings.HasPrefix(lines.Text(), `{"failed"`), "%s: %s: %s", generation, list[i].Name, lines.Text())
		out[i] = json.RawMessage(slices.Clone(lines.Bytes()))
	}
	return out
}
