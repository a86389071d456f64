package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRollingRestart is the program with 200 clients: no connection breaks, and no message is lost.
func TestRollingRestart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f, err := restart(ctx, options{broker: "memory", clients: 200, rooms: 5, load: 50, rate: 100, overlap: time.Second})
	require.NoError(t, err)
	assert.NotZero(t, f.sent)
	assert.Equal(t, 200, f.moved, "clients that moved once: %+v", f)
	assert.Zero(t, f.movedTwice, "%+v", f)
	assert.Zero(t, f.broken, "%+v", f)
	assert.Zero(t, f.missing, "%+v", f)
	assert.Zero(t, f.unsent, "%+v", f)
}
