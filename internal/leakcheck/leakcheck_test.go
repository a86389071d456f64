package leakcheck

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

func TestLeft(t *testing.T) {
	release := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-release
	}()
	stacks := left(0)
	assert.Contains(t, stacks, "leakcheck.TestLeft.func1", "left behind")
	assert.NotContains(t, stacks, "leakcheck.left", "left behind")
	close(release)
	<-ended
	// The goroutine of TestMain runs as long as the test.
	for deadline := time.Now().Add(patience); strings.Contains(left(0), "TestLeft.func1"); time.Sleep(time.Millisecond) {
		require.False(t, time.Now().After(deadline), "it does not notice the end")
	}
}
