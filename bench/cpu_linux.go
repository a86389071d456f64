package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// processCPU returns the processor time that another process has used so far, to the nanosecond.
func processCPU(pid int) time.Duration {
	// The clock of a process, computed like clock_getcpuclockid(3).
	const scheduler = 2
	var t unix.Timespec
	if unix.ClockGettime(^int32(pid)<<3|scheduler, &t) != nil {
		return 0 // it has terminated
	}
	return time.Duration(t.Nano())
}
