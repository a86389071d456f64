// Command hubload measures package hub beside the WebSocket handlers of centrifuge and melody: the memory and
// goroutines of idle connections, and broadcasts to all of them.
//
//	go run ./bench/hubload -n 5000     from the root of the repository; or make hub-load
//
// Each contender has a process for its server and one for its clients. All connections stay open, and the contenders
// broadcast in turns. A broadcast takes from the call of the server until the last client has read the message; the
// clients of all contenders are the same. Processor time is that of the server alone. -n is limited by the system's
// limit of open files for a process, of which the server and its clients need one for each connection.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"
)

func main() {
	n := flag.Int("n", 5000, "connections of each contender")
	rounds := flag.Int("rounds", 300, "broadcasts of each contender")
	size := flag.Int("size", 128, "bytes of a message")
	serve := flag.String("serve", "", "for child processes: the contender to serve")
	dial := flag.String("dial", "", "for child processes: the address to dial")
	flag.Parse()
	var err error
	switch {
	case *serve != "":
		err = server(*serve)
	case *dial != "":
		err = clients(*dial, *n)
	default:
		err = run(*n, *rounds, *size)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hubload:", err)
		os.Exit(1)
	}
}

// report is a line of a child's output.
type report struct {
	Address string `json:",omitempty"` // of a server that listens
	// What a server uses, after a collection of garbage: of the Go heap and stacks, and of the system.
	Go, System uint64 `json:",omitempty"`
	Goroutines int
	CPU        time.Duration // of the process, since its start; of churn, the time it took
	Sent, Last int64         // Unix nanoseconds: of a broadcast's start, of the last client that read it
}

// process is a child that responds to each line with a report.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd, in, bufio.NewScanner(out)}, cmd.Start()
}

// say sends a line. hear waits for a report.
func (p *process) say(line string) error {
	_, err := fmt.Fprintln(p.in, line)
	return err
}

func (p *process) hear() (r report, err error) {
	if !p.out.Scan() {
		return r, errors.Join(p.out.Err(), errors.New("a child process has ended"))
	}
	return r, json.Unmarshal(p.out.Bytes(), &r)
}

func (p *process) ask(line string) (report, error) {
	if err := p.say(line); err != nil {
		return report{}, err
	}
	return p.hear()
}

// contender is a server with its clients.
type contender struct {
	name            string
	server, clients *process
	idle            report // with all connections, less the server without any
	took            []time.Duration
	cpu             time.Duration
}

func run(n, rounds, size int) (err error) {
	var list []*contender
	defer func() {
		for _, c := range list {
			for _, p := range []*process{c.server, c.clients} {
				if p != nil {
					p.in.Close() // ends it
					p.cmd.Wait()
				}
			}
		}
	}()
	for _, name := range []string{"hub coder/websocket", "hub gorilla/websocket", "centrifuge", "melody"} {
		c := &contender{name: name}
		list = append(list, c)
		if c.server, err = start("-serve", name); err != nil {
			return err
		}
		listens, err := c.server.hear()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		empty, err := c.server.ask("measure")
		if err != nil {
			return err
		}
		if c.clients, err = start("-dial", listens.Address, "-n", fmt.Sprint(n)); err != nil {
			return err
		}
		if _, err := c.clients.hear(); err != nil {
			return fmt.Errorf("%s: clients: %w", name, err)
		}
		if c.idle, err = c.server.ask("measure"); err != nil {
			return err
		}
		c.idle.Go -= empty.Go
		c.idle.System -= empty.System
		c.idle.Goroutines -= empty.Goroutines
	}
	for i := range rounds + rounds/10 + 1 { // the first ones warm up
		for _, c := range list {
			if err := c.clients.say(fmt.Sprint("expect ", i)); err != nil {
				return err
			}
			if _, err := c.clients.hear(); err != nil {
				return err
			}
			sent, err := c.server.ask(fmt.Sprintf("broadcast %d %d", i, size))
			if err != nil {
				return err
			}
			got, err := c.clients.hear()
			if err != nil {
				return err
			}
			after, err := c.server.ask("cpu")
			if err != nil {
				return err
			}
			if i > rounds/10 {
				c.took = append(c.took, time.Duration(got.Last-sent.Sent))
				c.cpu += after.CPU - sent.CPU
			}
		}
	}
	fmt.Printf("%d connections, %d broadcasts of %d bytes\n\n", n, rounds, size)
	fmt.Printf("%-24s %12s %12s %12s %10s %10s %16s\n", "", "Go memory", "all memory", "goroutines", "p50", "p99", "CPU a delivery")
	each := func(v uint64) string { return fmt.Sprintf("%.1f KiB", float64(v)/float64(n)/1024) }
	best := func(of func(*contender) float64) float64 { return min(of(list[2]), of(list[3])) }
	p50 := func(c *contender) float64 { return float64(percentile(c.took, 50)) }
	p99 := func(c *contender) float64 { return float64(percentile(c.took, 99)) }
	cpu := func(c *contender) float64 { return float64(c.cpu) / float64(rounds*n) }
	memory := func(c *contender) float64 { return float64(c.idle.System) }
	for _, c := range list {
		fmt.Printf("%-24s %12s %12s %12.2f %10s %10s %16s\n", c.name, each(c.idle.Go), each(c.idle.System), float64(c.idle.Goroutines)/float64(n),
			time.Duration(p50(c)).Round(10*time.Microsecond), time.Duration(p99(c)).Round(10*time.Microsecond), time.Duration(cpu(c)))
	}
	fmt.Printf("\n%d further connections that come and go\n", churned)
	before, took := make([]report, len(list)), make([]time.Duration, len(list))
	for i, c := range list {
		if before[i], err = c.server.ask("measure"); err != nil {
			return err
		}
		done, err := c.clients.ask(fmt.Sprint("churn ", churned))
		if err != nil {
			return err
		}
		took[i] = done.CPU
	}
	time.Sleep(30 * time.Second) // longer than any timeout of a connection that closes
	for i, c := range list {
		after, err := c.server.ask("measure")
		if err != nil {
			return err
		}
		fmt.Printf("%-24s %5.0f in a second, then %+.1f MiB of Go memory, %+d goroutines\n", c.name, float64(churned)/took[i].Seconds(),
			(float64(after.Go)-float64(before[i].Go))/(1<<20), after.Goroutines-before[i].Goroutines)
	}
	fmt.Println("\nto the better of centrifuge and melody")
	for _, c := range list[:2] {
		fmt.Printf("%-24s all memory %.2f ×, p50 %.2f ×, p99 %.2f ×, CPU %.2f ×\n", c.name,
			memory(c)/best(memory), p50(c)/best(p50), p99(c)/best(p99), cpu(c)/best(cpu))
	}
	return nil
}

const churned = 10_000

// percentile returns the nearest rank: of 300 values, the fourth largest.
func percentile[T cmp.Ordered](list []T, p int) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
