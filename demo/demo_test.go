package main_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/servers"
)

// root is the module's directory.
const root = ".."

// goTool runs the go command in the module, as a reader of the README would.
func goTool(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "go %s: %v\n%s", strings.Join(args, " "), err, out)
	return string(out)
}

// TestDemo compares the demo's output with the expected transcript.
func TestDemo(t *testing.T) {
	t.Parallel()
	transcript(t, goTool(t, "run", "./demo"), "node is lost")
}

// TestDemoOnNATS is the same on a real server. NATS cannot count subscribers, so the crashed node is missing because
// it does not respond. Later requests do not wait for it.
func TestDemoOnNATS(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	transcript(t, goTool(t, "run", "./demo", "-broker", srv.URL()), "node did not respond in time",
		"The next request does not wait:\n  missing:  east (node is unresponsive), known after ")
}

func transcript(t *testing.T, got, dead string, more ...string) {
	t.Helper()
	for _, want := range append(more,
		"  alice   on north got hello [from north 42]\n  bob     on south got hello [from north 42]\n  carol   on east  got hello [from north 42]\n",
		"  alice   on north\n  bob     on south\n  carol   on east\n",
		"dave is in dave, lobby\n",
		"  bob     on south was disconnected\n  mallory: no node has it (known after less than 100 ms",
		"  east  \"2 sockets\"\n  north \"1 sockets\"\n  south \"0 sockets\"\n",
		"  alice   on north\n  answered: south\n  missing:  east ("+dead+")",
	) {
		assert.Contains(t, got, want, "missing")
	}
}
