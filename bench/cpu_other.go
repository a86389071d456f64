//go:build !linux

package main

import "time"

// processCPU is known on Linux only. Elsewhere only this process's time counts.
func processCPU(int) time.Duration { return 0 }
