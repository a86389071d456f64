package lifecycle_test

import (
	"context"
	"testing"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

func TestRaise(t *testing.T) {
	ch := make(chan struct{}, 1)
	lifecycle.Raise(ch)
	lifecycle.Raise(ch) // does not wait
	<-ch
	if len(ch) > 0 {
		t.Fatal("two wake-ups are there")
	}
}

func TestWait(t *testing.T) {
	closed, open := make(chan struct{}), make(chan struct{})
	close(closed)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lifecycle.Wait(over, closed, nil, closed); err != nil {
		t.Fatalf("all closed: %v", err)
	}
	if err := lifecycle.Wait(over, nil, closed, open); err != context.Canceled {
		t.Fatalf("one open: %v, want the context's error", err)
	}
	done := make(chan error)
	go func() { done <- lifecycle.Wait(t.Context(), closed, open) }()
	close(open)
	if err := <-done; err != nil {
		t.Fatalf("closed meanwhile: %v", err)
	}
}
