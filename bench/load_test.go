package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A channel represents the broker: published messages arrive in order, at its own pace.
func TestFloodCountsWhatArrives(t *testing.T) {
	f := newFlow()
	wire := make(chan struct{}, 8*inFlight)
	most := int64(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range wire {
			most = max(most, f.sent.Load()-f.got.Load())
			f.arrived(1)
		}
	}()
	got, _, err := f.flood(context.Background(), 50*time.Millisecond, func(context.Context) error {
		wire <- struct{}{}
		return nil
	})
	close(wire)
	<-done
	require.NoError(t, err)
	assert.Positive(t, got)
	assert.Equal(t, f.sent.Load(), got)
	assert.LessOrEqual(t, most, int64(inFlight+publishers), "messages in flight at a time, the window is %d", inFlight)
}

func TestFloodEndsWithAnError(t *testing.T) {
	broken := errors.New("broken")
	_, _, err := newFlow().flood(context.Background(), time.Minute, func(context.Context) error { return broken })
	assert.ErrorIs(t, err, broken)
}

func TestPaceMeasuresEveryMessage(t *testing.T) {
	p := newPace(20 * time.Millisecond)
	n, got, err := p.run(context.Background(), time.Minute, func(context.Context) error { p.arrived(); return nil })
	require.NoError(t, err)
	assert.EqualValues(t, 40, n, "messages")
	assert.Equal(t, n, p.arrivals.Load(), "messages")
	v, ok := got.of("p50 µs")
	assert.True(t, ok, "figures %v", got)
	assert.LessOrEqual(t, v, 1e6, "figures %v", got)
}
