package main

import (
	"context"
	"runtime"
	"slices"
	"time"
)

// repeated does something again and again, one after another, and returns how
// long it took.
func repeated(ctx context.Context, length time.Duration, do func(ctx context.Context) error) (figures, error) {
	runtime.GC()
	var took []time.Duration
	for end := time.Now().Add(length); ; {
		start := time.Now()
		if start.After(end) {
			break
		}
		if err := do(ctx); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	micros := func(q int) float64 { return float64(took[len(took)*q/100]) / 1e3 }
	return figures{{"p50 µs", micros(50)}, {"p99 µs", micros(99)}}, nil
}
