package interop_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
)

var update = flag.Bool("update", false, "write the tables in docs from what passed, and what the real receivers made of the readings")

// The tables are in a document, between two lines.
const (
	tableFile  = "../../docs/INTEROP.md"
	tableBegin = "<!-- Written by: go test ./internal/interop -run '^TestInterop$' -update -->\n"
	tableEnd   = "<!-- End of what is written by the test. -->\n"
)

// table has the result of each case: operations × columns.
type table struct {
	versions map[string]string // of the pinned packages
	mu       sync.Mutex
	cells    map[[2]string]bool
}

func newTable(t *testing.T) *table {
	dir, err := interop.Available()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	require.NoError(t, err)
	var lock struct {
		Packages map[string]struct{ Version string }
	}
	require.NoError(t, json.Unmarshal(text, &lock))
	tab := &table{versions: map[string]string{}, cells: map[[2]string]bool{}}
	for name, p := range lock.Packages {
		tab.versions[strings.TrimPrefix(name, "node_modules/")] = p.Version
	}
	return tab
}

func (tab *table) set(operation, column string, ok bool) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.cells[[2]string{operation, column}] = ok
}

// A column of the table, with its cases.
type column struct {
	name, title string
	can         func(testCase) bool
}

func (tab *table) pairColumns() []column {
	v := tab.versions
	named := map[interop.Generation]string{
		v5:        "socket.io-redis " + v["socket.io-redis-5"],
		v6:        "socket.io-redis " + v["socket.io-redis-6"],
		v7:        "@socket.io/redis-adapter " + v["socket.io-redis-adapter-7"],
		v8:        "@socket.io/redis-adapter " + v["@socket.io/redis-adapter"],
		emitterV3: "socket.io-emitter " + v["socket.io-emitter"],
		emitterV5: "@socket.io/redis-emitter " + v["@socket.io/redis-emitter"],
	}
	var list []column
	for _, g := range all {
		list = append(list,
			column{string(g) + " to Go", named[g] + " → Go", asNode(g)},
			column{"Go to " + string(g), "Go → " + named[g], asGo(g)})
	}
	for _, g := range []interop.Generation{emitterV3, emitterV5} {
		list = append(list, column{string(g) + " to Go", named[g] + " → Go", asNode(g)})
	}
	for _, g := range all {
		list = append(list, column{"Go emitter to " + string(g), "Go Emitter → " + named[g], asGoEmitter(g)})
	}
	return list
}

func (tab *table) fleetColumns() []column {
	v := tab.versions
	named := map[interop.Generation]string{
		v5: "socket.io-redis " + v["socket.io-redis-5"] + " with socket.io " + v["socket.io-2"],
		v6: "socket.io-redis " + v["socket.io-redis-6"] + " with socket.io " + v["socket.io-4.0"],
		v7: "@socket.io/redis-adapter " + v["socket.io-redis-adapter-7"] + " with socket.io " + v["socket.io"],
		v8: "@socket.io/redis-adapter " + v["@socket.io/redis-adapter"] + " with socket.io " + v["socket.io"],
	}
	var list []column
	for _, g := range all {
		list = append(list,
			column{"fleet of " + string(g) + ": Node asks", named[g] + ": Node.js sends", asNode(g)},
			column{"fleet of " + string(g) + ": Go asks", "Go sends", asGo(g)})
	}
	return list
}

// markdown renders the table. complete reports whether every case that can be played was played.
func (tab *table) markdown() (text string, complete bool) {
	var b strings.Builder
	b.WriteString("\n")
	b.WriteString("Live, through one Redis, with real clients. “A → B”: A sent the event or request, and B carried it out or responded.\n")
	b.WriteString("A dash: the sending package, or its generation, does not have the operation.\n\n")
	pairs := tab.render(&b, tab.pairColumns())
	b.WriteString("\nIn a fleet of two Node.js servers and two Go nodes, where each response has four parts:\n\n")
	fleets := tab.render(&b, tab.fleetColumns())
	b.WriteString("\n")
	return b.String(), pairs && fleets
}

// render writes some columns.
func (tab *table) render(b *strings.Builder, columns []column) (complete bool) {
	complete = true
	b.WriteString("| |")
	for _, c := range columns {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(columns)) + "\n")
	for _, row := range cases() {
		b.WriteString("| " + row.operation + " |")
		for _, c := range columns {
			cell := "–"
			if ok, done := tab.cells[[2]string{row.operation, c.name}]; done && ok {
				cell = "ok"
			} else if done {
				cell = "FAILED"
			} else if c.can(row) {
				cell, complete = "?", false
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return complete
}

// check compares the table with the committed one, or with -update writes it.
func (tab *table) check(t *testing.T) {
	text, complete := tab.markdown()
	checkTable(t, tableFile, tableBegin, text, complete)
}

// checkTable compares the text between two lines of a file with a new one, or with -update writes
// it.
func checkTable(t *testing.T, tableFile, tableBegin, text string, complete bool) {
	switch {
	case t.Failed():
		return
	case !complete && flag.Lookup("test.run").Value.String() != "":
		t.Log("a part of the cases was left out; the table is not compared")
	case !complete:
		t.Errorf("not every case was run:\n%s", text)
	default:
		readme, err := os.ReadFile(tableFile)
		require.NoError(t, err)
		before, rest, ok := strings.Cut(string(readme), tableBegin)
		committed, after, ok2 := strings.Cut(rest, tableEnd)
		require.True(t, ok, "%s has no place for the table", tableFile)
		require.True(t, ok2, "%s has no place for the table", tableFile)
		switch {
		case *update:
			require.NoError(t, os.WriteFile(tableFile, []byte(before+tableBegin+text+tableEnd+after), 0o644))
		case committed != text:
			t.Errorf("the table in %s is not what this run came to; see the differing lines, and run with -update:\n%s", tableFile, differing(committed, text))
		}
	}
}

func differing(a, b string) string {
	var out []string
	before := strings.Split(a, "\n")
	for _, line := range strings.Split(b, "\n") {
		if !slices.Contains(before, line) {
			out = append(out, line)
		}
	}
	return fmt.Sprint(strings.Join(out, "\n"))
}
