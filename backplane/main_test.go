package backplane_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails if a goroutine outlives the tests. (Fuzzing has some of its own.)
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code)
	}
	deadline := time.Now().Add(5 * time.Second)
	for code == 0 && runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left behind:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
			break
		}
		time.Sleep(time.Millisecond) // polls a condition; nothing follows from the time
	}
	os.Exit(code)
}
