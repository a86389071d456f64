package interop_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tables are in the description of the wire, between two lines.
const (
	wireFile      = "../../docs/PROTOCOL.md"
	readingsBegin = "<!-- Written by: go test ./internal/interop -run '^TestReadings$' -update -->\n"
)

// A took is the effect of a reading on a server, as far as the tables show it.
type took struct {
	Dies string
	Got  []struct {
		To  []string
		Got []struct {
			Refused              string
			Volatile, NoCompress bool
		}
	}
	Joined, Left, Gone map[string]any
	Published          []struct{ JSON map[string]any }
	Events             []any
	Result             any
}

// code returns an outcome as the text of a cell.
func (o *took) code() string {
	if o.Dies != "" {
		return "†"
	}
	var sockets []string
	mark := ""
	for _, g := range o.Got {
		switch first := g.Got[0]; {
		case first.Refused != "":
			return "✂"
		case first.Volatile:
			mark = " v"
		case first.NoCompress:
			mark = " c"
		}
		sockets = append(sockets, g.To...)
	}
	for _, changed := range []map[string]any{o.Joined, o.Left, o.Gone} {
		for name, closed := range changed {
			if sockets = append(sockets, name); closed == true {
				mark = " x"
			}
		}
	}
	answered := false
	for _, p := range o.Published {
		answered = true
		for _, key := range []string{"sockets", "clients"} {
			list, is := p.JSON[key].([]any)
			if is && len(list) == 0 {
				return "none"
			}
			for _, s := range list {
				if m, is := s.(map[string]any); is {
					s = m["id"]
				}
				sockets = append(sockets, strings.TrimPrefix(s.(string), "id-"))
			}
		}
	}
	if len(sockets) > 0 {
		return some(sockets) + mark
	}
	switch result := o.Result.(type) {
	case string:
		return "…"
	case map[string]any:
		if _, failed := result["error"]; failed {
			return "✗"
		}
		return "✓"
	}
	if answered || len(o.Events) > 0 {
		return "✓"
	}
	return "–"
}

func some(sockets []string) string {
	slices.Sort(sockets)
	if sockets = slices.Compact(sockets); len(sockets) == 5 {
		return "all"
	}
	return strings.Join(sockets, ",")
}

// A grid is a table of fields and the values that they can have.
type grid struct {
	columns []value
	rows    []gridRow
}

type gridRow struct {
	title string
	// name of the reading with the value of a column
	name func(column string) string
	// only is the only generation that has it.
	only string
}

func readingGrids() (broadcasts, requests, responses grid) {
	broadcasts.columns = everyKind
	for _, f := range broadcastFields {
		broadcasts.rows = append(broadcasts.rows, gridRow{"`" + f.name + "`", func(c string) string { return f.name + " " + c }, ""})
	}
	requests.columns, responses.columns = everyJSON, everyJSON
	for _, f := range requestForms {
		for _, field := range f.fields {
			requests.rows = append(requests.rows, gridRow{f.name + ": `" + field + "`", func(c string) string { return "request " + f.name + ": " + field + " " + c }, f.sender})
		}
	}
	for _, f := range responseForms {
		for _, field := range f.fields {
			responses.rows = append(responses.rows, gridRow{strings.TrimSuffix(f.ask, "5") + " (" + f.sender + "): `" + field + "`", func(c string) string { return "response to " + f.ask + ": " + field + " " + c }, f.sender})
		}
	}
	return broadcasts, requests, responses
}

func (g *grid) markdown(t *testing.T, codes map[string][3]string) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range g.columns {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(g.columns)) + "\n")
	for _, row := range g.rows {
		b.WriteString("| " + row.title + " |")
		for _, c := range g.columns {
			code, ok := codes[row.name(c.name)]
			require.True(t, ok, "no reading %s", row.name(c.name))
			v5, v6, v8 := code[0], code[1], code[2]
			cell := v8
			switch {
			case row.only == "v5":
				cell = v5
			case row.only == "v8" || v6 == v8 && (v5 == v8 || g.columns[0].raw == missing):
			case v6 == v8:
				cell += "·" + v5
			case g.columns[0].raw == missing: // requests, which differ in v5
				cell += "·" + v6
			default:
				cell += "·" + v6 + "·" + v5
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// checkReadingsTable compares the tables with the committed ones, or with -update writes them.
func checkReadingsTable(t *testing.T, all []recorded, outcomes []json.RawMessage) {
	t.Helper()
	codes := map[string][3]string{}
	for _, r := range all {
		var c [3]string
		for i, n := range r.took {
			var o took
			require.NoError(t, json.Unmarshal(outcomes[n], &o), r.Name)
			c[i] = o.code()
		}
		codes[r.Name] = c
	}
	broadcasts, requests, responses := readingGrids()
	text := "\nBroadcasts:\n\n" + broadcasts.markdown(t, codes) + "\nRequests:\n\n" + requests.markdown(t, codes) + "\nResponses:\n\n" + responses.markdown(t, codes) + "\n"
	wire, err := os.ReadFile(wireFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(wire), readingsBegin)
	committed, after, ok2 := strings.Cut(rest, tableEnd)
	require.True(t, ok, "%s has no place for the tables", wireFile)
	require.True(t, ok2, "%s has no place for the tables", wireFile)
	switch {
	case *update:
		require.NoError(t, os.WriteFile(wireFile, []byte(before+readingsBegin+text+tableEnd+after), 0o644))
	case committed != text:
		t.Errorf("the tables in %s are not what this run came to; run with -update:\n%s", wireFile, differing(committed, text))
	}
}
