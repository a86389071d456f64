package interop_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
)

// The tables are in a document of their own, each between two lines.
const (
	harmFile         = "../../docs/NOHARM.md"
	harmBegin        = "<!-- Written by: make noharm UPDATE=1 -->\n"
	harmShardedBegin = "<!-- Written by: make noharm UPDATE=1, for the sharded adapter -->\n"
	harmEnd          = "<!-- End of what is written by the run. -->\n"
)

// packagesOf returns the names of a version's adapter and server in package.json.
var packagesOf = map[interop.Generation][2]string{
	v5:  {"socket.io-redis-5", "socket.io-2"},
	v60: {"socket.io-redis-6.0", "socket.io-3"},
	v6:  {"socket.io-redis-6", "socket.io-4.0"},
	v70: {"socket.io-redis-adapter-7.0", "socket.io-4.1"},
	v71: {"socket.io-redis-adapter-7.1", "socket.io-4.4"},
	v7:  {"socket.io-redis-adapter-7", "socket.io"},
	v8:  {"@socket.io/redis-adapter", "socket.io"},
}

// harmTable is a table of the document.
type harmTable struct {
	begin   string
	columns []string
	heads   []string
	ops     []harmOp
}

// classicTable is that of the seven versions.
func classicTable(t *testing.T) harmTable {
	out := harmTable{begin: harmBegin, ops: append(slices.Clone(harmOps), bridged)}
	pinned := newTable(t).versions
	for _, g := range versions {
		of := packagesOf[g]
		out.columns = append(out.columns, string(g))
		out.heads = append(out.heads, pinned[of[0]]+" with socket.io "+pinned[of[1]])
	}
	out.columns, out.heads = append(out.columns, "mixed"), append(out.heads, "all seven on one prefix")
	return out
}

// check prints the results of the run. With -update a full run writes its table. Every run
// checks that the document has all operations.
func (r *harmRun) check(t *testing.T, tab harmTable) {
	said := fmt.Sprintf("generated cases: %d, refused: %d, survived: %d, harmed: %d, in %v",
		r.total.tries, r.total.refused, r.total.tries-r.total.refused-r.total.harmed, r.total.harmed, time.Since(r.began).Round(time.Second))
	t.Log(said)
	if r.full {
		fmt.Println("noharm: " + said)
	}
	text, err := os.ReadFile(harmFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), tab.begin)
	written, after, ok2 := strings.Cut(rest, harmEnd)
	require.True(t, ok, "%s has no place for the table", harmFile)
	require.True(t, ok2, "%s has no place for the table", harmFile)
	if *update && r.full && !t.Failed() && strings.HasPrefix(flag.Lookup("test.run").Value.String(), "^TestNoHarm") {
		require.NoError(t, os.WriteFile(harmFile, []byte(before+tab.begin+r.markdown(tab)+harmEnd+after), 0o644))
		return
	}
	for _, op := range tab.ops {
		assert.Contains(t, written, "\n| "+op.name+" |", "%s has no row for %q: run make noharm UPDATE=1", harmFile, op.name)
	}
}

// markdown returns the table: how often each operation was tried beside each version, and how often
// it was refused.
func (r *harmRun) markdown(tab harmTable) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d cases, of which %d were refused and %d survived; **%d harmed**.\n\n",
		r.total.tries, r.total.refused, r.total.tries-r.total.refused-r.total.harmed, r.total.harmed)
	b.WriteString("| | " + strings.Join(tab.heads, " | ") + " |\n|---|" + strings.Repeat("--:|", len(tab.heads)) + "\n")
	for _, op := range tab.ops {
		b.WriteString("| " + op.name + " |")
		for _, column := range tab.columns {
			c, played := r.cells[[2]string{op.name, column}]
			switch {
			case !played:
				b.WriteString(" – |")
			case c.harmed > 0:
				fmt.Fprintf(&b, " %d, **%d harmed** |", c.tries, c.harmed)
			case c.refused == c.tries:
				fmt.Fprintf(&b, " %d, all refused |", c.tries)
			case c.refused > 0:
				fmt.Fprintf(&b, " %d, %d refused |", c.tries, c.refused)
			default:
				fmt.Fprintf(&b, " %d |", c.tries)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	return b.String()
}
