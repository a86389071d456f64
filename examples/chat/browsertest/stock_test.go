package browsertest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

var update = flag.Bool("update", false, "write the table of ../README.md from what the stock client showed")

// The README has the table between these two lines.
const (
	tableFile  = "../README.md"
	tableBegin = "<!-- Written by: go test ./chat/browsertest -run TestStockClient -update -->\n"
	tableEnd   = "<!-- End of what is written by the test. -->\n"
)

// outcome is the result of testing one behaviour; see ../node/tryout.js.
type outcome struct{ Name, Verdict, Remark string }

// TestStockClient tests every feature of the stock client against a Go node and, to verify the test itself, against a
// Node.js node. The README has the results.
func TestStockClient(t *testing.T) {
	t.Parallel()
	fleet := browsertest.StartFleet(t, kinds...)
	node := byName(fleet)
	script := browsertest.Script(t, "tryout.js")
	type trial struct {
		kind string
		list []outcome
		err  error
	}
	trials := make(chan trial, len(stock))
	for _, name := range stock {
		n := node[name]
		cmd := exec.CommandContext(t.Context(), "node", script, "--url", n.URL(), "--broker", fleet.Redis.URL())
		go func() {
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			found := trial{kind: n.Kind}
			stdout, err := cmd.Output()
			if err == nil {
				err = json.Unmarshal(stdout, &found.list)
			}
			if err != nil {
				found.err = fmt.Errorf("%s: %w\n%s", n.Name, err, stderr.String())
			}
			trials <- found
		}()
	}
	tried := make(map[string][]outcome)
	for range stock {
		found := <-trials
		assert.NoError(t, found.err)
		tried[found.kind] = found.list
	}
	for kind, list := range tried {
		for _, o := range list {
			if o.Verdict != "yes" && o.Verdict != "no" {
				t.Errorf("%s: %s: %s: %s", kind, o.Name, o.Verdict, o.Remark)
			}
		}
	}
	if t.Failed() {
		return
	}
	check(t, table(tried["go"], tried["node"]))
}

// table prints the outcomes on Go and Node.js nodes side by side. A remark is about the Go node.
func table(goNode, nodeJS []outcome) string {
	var b strings.Builder
	b.WriteString("\n| socket.io-client 4.8.4 | Go node | Node.js node | |\n|---|:-:|:-:|---|\n")
	for i, o := range goNode {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.Name, o.Verdict, nodeJS[i].Verdict, o.Remark)
	}
	b.WriteString("\n")
	return b.String()
}

// check compares the README's table with this one, or with -update writes it.
func check(t *testing.T, table string) {
	t.Helper()
	text, err := os.ReadFile(tableFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), tableBegin)
	old, after, ended := strings.Cut(rest, tableEnd)
	switch {
	case !ok || !ended:
		t.Fatalf("%s has no line %q, or nothing ends the table", tableFile, tableBegin)
	case old == table:
	case *update:
		require.NoError(t, os.WriteFile(tableFile, []byte(before+tableBegin+table+tableEnd+after), 0o644))
	default:
		t.Errorf("%s is not what the stock client shows; if that is right, run with -update. Now:\n%s", tableFile, table)
	}
}
