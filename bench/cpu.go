package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/crossroom/crossroom/internal/child"
)

// cpuTime is the processor time that this process, the servers and Node.js have used
// so far. Unlike a rate it hardly changes with what else the machine has
// to do. It is zero where there is no /proc.
func (e *env) cpuTime() time.Duration {
	total := processCPU("self")
	for _, server := range []*child.Server{e.redis, e.nats} {
		if server != nil {
			total += processCPU(strconv.Itoa(server.Pid()))
		}
	}
	for _, pair := range e.nodes {
		total += processCPU(strconv.Itoa(pair.publisher.Pid())) + processCPU(strconv.Itoa(pair.receiver.Pid()))
	}
	return total
}

// machine is the processor time of all processors so far: used, and altogether. It
// is zero where there is no /proc.
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

// bystanders watches how much of the processors goes to programs that are not part
// of the measurement.
type bystanders struct {
	env              *env
	used, total, own time.Duration
}

func (e *env) watchBystanders() bystanders {
	used, total := machine()
	return bystanders{e, used, total, e.cpuTime()}
}

// share returns it since the watch began, between 0 and 1.
func (b bystanders) share() float64 {
	used, total := machine()
	if total == b.total {
		return 0
	}
	return max(0, float64(used-b.used-(b.env.cpuTime()-b.own))/float64(total-b.total))
}

// tick is the unit in which the kernel counts for users.
const tick = time.Second / 100

// processCPU reads user and system time of a process and of its children that have
// ended.
func processCPU(pid string) time.Duration {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	// The second field is the program's name in brackets and may hold anything.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0
	}
	total := time.Duration(0)
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, _ := strconv.ParseInt(f, 10, 64)
		total += time.Duration(n) * tick
	}
	return total
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
