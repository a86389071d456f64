package backoff_test

import (
	"math"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker/internal/backoff"
)

func TestBackoff(t *testing.T) {
	b := &backoff.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second}
	for range 3 {
		if d := b.Spread(); d != 0 {
			t.Fatalf("spread %v before the first pause", d)
		}
		limit := b.Min
		for range 100 {
			if d := b.Next(); d <= 0 || d > limit {
				t.Fatalf("pause %v, limit %v", d, limit)
			}
			limit = min(2*limit, b.Max)
			if d := b.Spread(); d != limit {
				t.Fatalf("spread %v, want %v", d, limit)
			}
		}
		b.Reset()
	}
}

// TestRandom: brokers that lost the same server do not come back together.
func TestRandom(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 10 {
		b := &backoff.Backoff{Min: time.Second, Max: time.Minute}
		seen[b.Next()] = true
	}
	if len(seen) < 9 {
		t.Fatalf("%d different pauses of 10", len(seen))
	}
}

func TestLargest(t *testing.T) {
	b := &backoff.Backoff{Min: 1, Max: math.MaxInt64}
	for i := range 200 {
		if d := b.Next(); d <= 0 || b.Spread() < d {
			t.Fatalf("pause %d is %v, spread %v", i, d, b.Spread())
		}
	}
}
