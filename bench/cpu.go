package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// cpuTime is the processor time that this process, the redis-server and Node.js
// have used so far. Unlike a rate it hardly changes with what else the machine has
// to do. It is zero where there is no /proc.
func (e *env) cpuTime() time.Duration {
	processes := []*exec.Cmd{e.redis.cmd}
	for _, pair := range e.nodes {
		processes = append(processes, pair.publisher.cmd, pair.receiver.cmd)
	}
	total := processCPU("self")
	for _, cmd := range processes {
		total += processCPU(strconv.Itoa(cmd.Process.Pid))
	}
	return total
}

// processCPU reads user and system time of a process.
func processCPU(pid string) time.Duration {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	// The second field is the program's name in brackets and may hold anything.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100) // the kernel counts hundredths for users
}

// clock measures a stretch of work.
type clock struct {
	env   *env
	start time.Time
	cpu   time.Duration
}

func (e *env) startClock() clock { return clock{e, time.Now(), e.cpuTime()} }

// per returns the messages a second and the processor time of one, all processes
// together.
func (c clock) per(messages int64) figures {
	out := figures{{"msg/s", float64(messages) / time.Since(c.start).Seconds()}}
	if used := c.env.cpuTime() - c.cpu; used > 0 {
		out = append(out, figure{"CPU ns/msg", float64(used) / float64(messages)})
	}
	return out
}
