package leakcheck

import (
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

func TestLeft(t *testing.T) {
	release := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-release
	}()
	if stacks := left(0); !strings.Contains(stacks, "leakcheck.TestLeft.func1") || strings.Contains(stacks, "leakcheck.left") {
		t.Errorf("left behind:\n%s", stacks)
	}
	close(release)
	<-ended
	// The goroutine that runs TestMain is there for as long as the test.
	for deadline := time.Now().Add(patience); strings.Contains(left(0), "TestLeft.func1"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not notice the end")
		}
	}
}
