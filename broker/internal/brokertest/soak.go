package brokertest

import (
	"os"
	"strconv"
	"testing"
)

// Soak returns how often a test repeats what time plays a part in: as usual or, if
// CROSSROOM_SOAK is set, which make soak does, that often divided by share, and once at
// least.
func Soak(t *testing.T, usual, share int) int {
	t.Helper()
	text := os.Getenv("CROSSROOM_SOAK")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return max(n/share, 1)
}
