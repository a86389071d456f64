package lifecycle_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker/internal/lifecycle"
)

func TestRaise(t *testing.T) {
	ch := make(chan struct{}, 1)
	lifecycle.Raise(ch)
	lifecycle.Raise(ch) // does not wait
	<-ch
	require.Empty(t, ch, "two wake-ups are there")
}

func TestWait(t *testing.T) {
	closed, open := make(chan struct{}), make(chan struct{})
	close(closed)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, lifecycle.Wait(over, closed, nil, closed), "all closed")
	require.Equal(t, context.Canceled, lifecycle.Wait(over, nil, closed, open), "one open")
	done := make(chan error)
	go func() { done <- lifecycle.Wait(t.Context(), closed, open) }()
	close(open)
	require.NoError(t, <-done, "closed meanwhile")
}
