package main

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A channel stands for the broker: what is published arrives in order, at its own pace.
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
	if err != nil {
		t.Fatal(err)
	}
	if got <= 0 || got != f.sent.Load() {
		t.Errorf("%d messages, %d were sent", got, f.sent.Load())
	}
	if most > inFlight+publishers {
		t.Errorf("%d messages in flight at a time, the window is %d", most, inFlight)
	}
}

func TestFloodEndsWithAnError(t *testing.T) {
	broken := errors.New("broken")
	if _, _, err := newFlow().flood(context.Background(), time.Minute, func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestPaceMeasuresEveryMessage(t *testing.T) {
	p := newPace(20 * time.Millisecond)
	n, got, err := p.run(context.Background(), time.Minute, func(context.Context) error { p.arrived(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if n != 40 || p.arrivals.Load() != n {
		t.Errorf("%d messages, want 40", n)
	}
	if v, ok := got.of("p50 µs"); !ok || v > 1e6 {
		t.Errorf("figures %v", got)
	}
}
