// Package leakcheck fails a package's tests if they leave goroutines behind.
package leakcheck

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience limits how long goroutines may run after the last test.
const patience = 10 * time.Second

// Main is for TestMain: it runs the tests and exits the process, with a failure and the stacks if goroutines of this
// module, or started by it, are still running. While fuzzing, which has goroutines of its own, it only runs the tests.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 && flag.Lookup("test.fuzz").Value.String() == "" {
		if left := left(patience); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines are left behind:\n\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// left returns the stacks of the goroutines that do not end in time.
func left(patience time.Duration) string {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // polls; no result depends on the time
		stacks := module()
		if len(stacks) == 0 || time.Now().After(deadline) {
			return strings.Join(stacks, "\n\n")
		}
	}
}

// module returns the stacks of all other goroutines that contain the module's path.
func module() (stacks []string) {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	_, others, _ := strings.Cut(string(buf), "\n\n") // this one comes first
	for _, stack := range strings.Split(others, "\n\n") {
		if strings.Contains(stack, "crossroom/crossroom/") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
