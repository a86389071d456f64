// Package peakheap measures the peak memory of a function in a test.
package peakheap

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// pause is the time between two collections of garbage.
const pause = 50 * time.Millisecond

// Measure returns a function that returns by how many bytes the live memory of the process was larger, at most, between
// the two calls. It must be called once. What earlier tests have left, and garbage, do not count: live is what a
// collection has found in use, and one runs every 50 ms, or when memory grows by a fifth.
func Measure() (stop func() (peak int64)) {
	old := debug.SetGCPercent(20)
	runtime.GC()
	before := live()
	done, result := make(chan struct{}), make(chan int64)
	go func() {
		most, next := before, time.Now().Add(pause)
		for {
			most = max(most, live())
			select {
			case <-done:
				result <- most - before
				return
			case <-time.After(pause / 10):
			}
			if time.Now().After(next) {
				runtime.GC()
				next = time.Now().Add(pause)
			}
		}
	}()
	return func() int64 {
		close(done)
		debug.SetGCPercent(old)
		return <-result
	}
}

// Live returns how many bytes of the process are in use.
func Live() int64 {
	runtime.GC()
	return live()
}

// live is what the last collection has found in use.
func live() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
