package interop_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/interop"
)

func TestInbox(t *testing.T) {
	in := interop.NewInbox()
	named := func(event string) func(interop.Message) bool {
		return func(m interop.Message) bool { return m.Event == event }
	}
	go func() {
		for _, event := range []string{"a", "b", "c"} {
			in.Put(interop.Message{Event: event})
		}
	}()
	before, err := in.Until(t.Context(), named("b"))
	require.NoError(t, err)
	require.Len(t, before, 1, "until b")
	assert.Equal(t, "a", before[0].Event, "until b")
	m, err := in.Next(t.Context())
	require.NoError(t, err, "next: %v", m)
	assert.Equal(t, "c", m.Event, "next: %v", m)
	in.Put(interop.Message{Disconnected: "why"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	left, err := in.Until(ctx, named("d"))
	assert.ErrorIs(t, err, context.Canceled, "cancelled")
	assert.Len(t, left, 1, "cancelled")
	m, err = in.Next(ctx)
	require.NoError(t, err, "what is there was removed: %v", m)
	assert.Equal(t, "why", m.Disconnected, "what is there was removed: %v", m)
}
