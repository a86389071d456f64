// Package peakheap measures the peak memory of a function in a test.
package peakheap

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Measure returns a function that returns by how many bytes the live memory of the process was larger, at most, between
// the two calls. It must be called once.
func Measure() (stop func() (peak int64)) {
	old := debug.SetGCPercent(20) // what is no longer used counts little
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	done, result := make(chan struct{}), make(chan int64)
	go func() {
		most := uint64(0)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-done:
				result <- int64(most) - int64(before.HeapAlloc)
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(done)
		debug.SetGCPercent(old)
		return <-result
	}
}
