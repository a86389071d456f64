package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime returns the processor time that this process, the servers and Node.js have used so far. Unlike a rate it
// hardly depends on the machine's other load.
func (e *env) cpuTime() time.Duration {
	var own syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &own) // cannot fail
	return time.Duration(own.Utime.Nano()+own.Stime.Nano()) + e.othersTime()
}

// othersTime returns the part of cpuTime that other processes used.
func (e *env) othersTime() time.Duration {
	total := e.ended
	for _, pid := range e.processes {
		total += processCPU(pid)
	}
	return total
}

// count counts the processor time of another process until the stage closes.
func (s *stage) count(pid int) {
	s.processes = append(s.processes, pid)
	s.later(func() error {
		s.ended += processCPU(pid)
		s.processes = slices.DeleteFunc(s.processes, func(p int) bool { return p == pid })
		return nil
	})
}

// machine returns the processor time of all processors so far: used, and in total. It is zero without /proc.
func machine() (used, total time.Duration) {
	stat, _ := os.ReadFile("/proc/stat")
	first, _, _ := strings.Cut(string(stat), "\n")
	// cpu user nice system idle iowait irq softirq steal; guests are within user.
	for i, f := range strings.Fields(first) {
		n, _ := strconv.ParseInt(f, 10, 64)
		t := time.Duration(n) * tick
		if i > 8 || i == 0 {
			continue
		}
		total += t
		if i != 4 && i != 5 {
			used += t
		}
	}
	return used, total
}

// bystanders measures the share of the processors that goes to programs outside of the measurement.
type bystanders struct {
	env              *env
	used, total, own time.Duration
}

func (e *env) watchBystanders() bystanders {
	used, total := machine()
	return bystanders{e, used, total, e.cpuTime()}
}

// share returns that share since the start, between 0 and 1.
func (b bystanders) share() float64 {
	used, total := machine()
	if total == b.total {
		return 0
	}
	return max(0, float64(used-b.used-(b.env.cpuTime()-b.own))/float64(total-b.total))
}

// tick is the unit in which the kernel reports times to users.
const tick = time.Second / 100
