package natsbroker_test

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of this module or of its clients is left when all
// tests are through.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leaked(10 * time.Second); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked waits for the last goroutines and returns the stacks of those that stay.
func leaked(patience time.Duration) string {
	for deadline := time.Now().Add(patience); ; {
		buf := make([]byte, 1<<20)
		var left []string
		for _, stack := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			s := string(stack)
			if strings.Contains(s, "crossroom/") && !strings.Contains(s, "_test.TestMain") {
				left = append(left, s)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
