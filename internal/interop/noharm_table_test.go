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

// The table is in a document of its own, between two lines.
const (
	harmFile  = "../../docs/NOHARM.md"
	harmBegin = "<!-- Written by: make noharm UPDATE=1 -->\n"
	harmEnd   = "<!-- End of what is written by the run. -->\n"
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

// check prints the results of the run. With -update a full run writes the document. Every run
// checks that the document has all operations.
func (r *harmRun) check(t *testing.T) {
	said := fmt.Sprintf("generated cases: %d, refused: %d, survived: %d, harmed: %d, in %v",
		r.total.tries, r.total.refused, r.total.tries-r.total.refused-r.total.harmed, r.total.harmed, time.Since(r.began).Round(time.Second))
	t.Log(said)
	if r.full {
		fmt.Println("noharm: " + said)
	}
	text, err := os.ReadFile(harmFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), harmBegin)
	written, after, ok2 := strings.Cut(rest, harmEnd)
	require.True(t, ok, "%s has no place for the table", harmFile)
	require.True(t, ok2, "%s has no place for the table", harmFile)
	if *update && r.full && !t.Failed() && flag.Lookup("test.run").Value.String() == "^TestNoHarm$" {
		require.NoError(t, os.WriteFile(harmFile, []byte(before+harmBegin+r.markdown(newTable(t).versions)+harmEnd+after), 0o644))
		return
	}
	for _, op := range append(slices.Clone(harmOps), bridged) {
		assert.Contains(t, written, "\n| "+op.name+" |", "%s has no row for %q: run make noharm UPDATE=1", harmFile, op.name)
	}
}

// markdown returns the table: how often each operation was tried beside each version, and how often
// it was refused.
func (r *harmRun) markdown(pinned map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d cases, of which %d were refused and %d survived; **%d harmed**.\n\n",
		r.total.tries, r.total.refused, r.total.tries-r.total.refused-r.total.harmed, r.total.harmed)
	b.WriteString("| |")
	for _, g := range versions {
		of := packagesOf[g]
		fmt.Fprintf(&b, " %s with socket.io %s |", pinned[of[0]], pinned[of[1]])
	}
	b.WriteString(" all seven on one prefix |\n|---|" + strings.Repeat("--:|", len(versions)+1) + "\n")
	for _, op := range append(slices.Clone(harmOps), bridged) {
		b.WriteString("| " + op.name + " |")
		for _, column := range append(slices.Clone(versions), "mixed") {
			c, played := r.cells[[2]string{op.name, string(column)}]
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
