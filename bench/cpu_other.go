//go:build !linux

package main

import "time"

// processCPU works on Linux only. Elsewhere only this process's time counts.
func processCPU(int) time.Duration { return 0 }
