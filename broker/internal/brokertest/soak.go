package brokertest

import (
	"os"
	"strconv"
	"testing"
)

// Soak returns how often a test repeats cases that depend on timing: usual, or, if CROSSROOM_SOAK is set, as make soak
// does, that number divided by share, and at least once. If usual is zero, only make soak runs the test.
func Soak(t *testing.T, usual, share int) int {
	t.Helper()
	text := os.Getenv("CROSSROOM_SOAK")
	if text == "" {
		if usual == 0 {
			t.Skip("a repetition of TestConformance: make soak runs it")
		}
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return max(n/share, 1)
}
