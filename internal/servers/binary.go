package servers

import (
	"fmt"
	"os"
	"testing"

	"github.com/crossroom/crossroom/internal/child"
)

// EnvRequire is the environment variable that makes a missing program a failure, as CI
// does.
const EnvRequire = "CROSSROOM_REQUIRE_SERVERS"

// Binary returns the path of a program that tests need; see child.Program. Without one
// it skips or fails the test.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	path, err := child.Program(name)
	if err != nil {
		Missing(tb, name, err)
	}
	return path
}

// Missing ends a test that needs something that this machine does not have. The test is skipped with a line that
// begins with "SKIPPED-SERVER:" or, where everything must run, fails.
func Missing(tb testing.TB, what string, err error) {
	tb.Helper()
	if os.Getenv("CI") != "" || os.Getenv(EnvRequire) != "" {
		tb.Fatalf("no %s: %v", what, err)
	}
	// A line of its own, without a file name, for summaries of a run.
	fmt.Printf("SKIPPED-SERVER: %s: %s: %v\n", tb.Name(), what, err)
	tb.Skipf("SKIPPED-SERVER: %s: %v", what, err)
}

// FreePort returns a free loopback port; see child.FreePort.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := child.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}
