package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker/internal/backoff"
)

func TestBackoff(t *testing.T) {
	b := &backoff.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	for range 3 {
		require.Zero(t, b.Spread(), "spread before the first pause")
		limit := b.Min
		for range 100 {
			d := b.Next()
			require.Positive(t, d, "pause")
			require.LessOrEqual(t, d, limit, "pause")
			limit = min(2*limit, b.Max)
			require.Equal(t, limit, b.Spread())
		}
		b.Reset()
	}
}

// TestRandom: brokers that lost the same server do not reconnect at the same moment.
func TestRandom(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 10 {
		b := &backoff.Backoff{Min: time.Second, Max: time.Minute}
		seen[b.Next()] = true
	}
	require.GreaterOrEqual(t, len(seen), 9, "different pauses of 10")
}

func TestLargest(t *testing.T) {
	b := &backoff.Backoff{Min: 1, Max: math.MaxInt64}
	for i := range 200 {
		d := b.Next()
		require.Positive(t, d, "pause %d", i)
		require.GreaterOrEqual(t, b.Spread(), d, "pause %d", i)
	}
}

// TestLost: the first attempt after a connection that has lasted is immediate, and after one that was closed at once it
// is not, so that a server that accepts connections and closes them is not stormed.
func TestLost(t *testing.T) {
	b := &backoff.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	require.Zero(t, b.Lost(100*time.Millisecond), "pause after a connection")
	require.Zero(t, b.Spread(), "spread after a connection")
	for limit := b.Min; limit <= b.Max; limit *= 2 {
		d := b.Lost(min(max(limit, 2*b.Min), b.Max) - 1)
		require.Positive(t, d, "pause after a short connection")
		require.LessOrEqual(t, d, limit, "pause after a short connection")
	}
	require.Positive(t, b.Lost(b.Max-1), "pause after a short connection")
	require.Zero(t, b.Lost(b.Max), "pause after a connection as long as the longest pause")
	require.LessOrEqual(t, b.Next(), b.Min, "the next failure")
}
