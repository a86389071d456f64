// Command bench measures Crossroom beside its peers: in one run, on one redis-server and one nats-server that it
// starts, in short rounds that alternate. It prints one line for each bar, and exits with status 1 if one is missed.
//
// A bar compares contenders of the same round, by the processor time of one operation, by allocations or by bytes. Its
// figure is the median over the rounds, with the quartiles. Processor time is that of this process, the servers and
// Node.js together (outside of Linux that of this process). A profiler, -cpuprofile, changes it.
//
//	go run ./bench                                from the root of the repository
//	go run ./bench -write docs/BENCHMARKS.md      writes the figures there, too
//	go run ./bench -scale -write docs/SCALE.md    how costs grow with the fleet
//	go run ./bench -only 'throughput/(raw|crossroom)' -cpuprofile cpu.prof
//
// A profile's samples carry the name of their contender:
//
//	go tool pprof -tagfocus contender=crossroom cpu.prof
//
// The program needs redis-server and nats-server, and Node.js with npm for the measurement called node.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // a line for each connection would hide the figures
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	good, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !good {
		stop()
		os.Exit(1)
	}
}

// run reports whether every bar is met.
func run(ctx context.Context) (good bool, err error) {
	rounds := flag.Int("rounds", 15, "how often the contenders take turns")
	seconds := flag.Float64("seconds", 0.25, "length of one contender's turn")
	write := flag.String("write", "", "file to write the figures to, between the marks in it")
	only := flag.String("only", "", "regular expression of measurement/contender; what does not match is left out")
	heap := flag.Int("heap", 32, "MiB of memory in use that this process has, as a server with sockets does: with none, Go collects garbage dozens of times a second")
	large := flag.Bool("scale", false, "measure how costs grow with the fleet instead: the tables of docs/SCALE.md, which -write writes")
	profile := flag.String("cpuprofile", "", "write a CPU profile of this process to the file")
	allocs := flag.String("allocprofile", "", "write a profile of all allocations of this process to the file")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *seconds <= 0 || *write != "" && *only != "" {
		return false, errors.New("no arguments, at least one round, more than 0 seconds, -write without -only; see -help")
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return false, err
	}

	inUse := make([]byte, max(0, *heap)<<20) // never written to, so it takes no memory
	defer runtime.KeepAlive(inUse)

	e, err := newEnv(ctx, *rounds, time.Duration(*seconds*float64(time.Second)))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	if *large {
		return true, scale(ctx, e, *write)
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return false, err
		}
		defer pprof.StopCPUProfile()
	}

	if *allocs != "" {
		runtime.MemProfileRate = 16 << 10
		defer func() { err = errors.Join(err, writeAllocs(*allocs)) }()
	}

	about := fmt.Sprintf("%s %s/%s, %d cores, %d MiB in use, Redis %s, %d rounds of %v",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *heap, e.redisVersion, e.rounds, e.length)
	fmt.Println(about)
	bystanders := e.watchBystanders()
	all := report{about: about}
	for _, m := range table {
		r, err := m.run(ctx, e, match, os.Stdout)
		if err != nil {
			return false, err
		}
		all.add(m, r)
	}
	if len(all.measured) == 0 {
		return false, fmt.Errorf("-only %q matches no measurement/contender", *only)
	}
	share := 100 * bystanders.share()
	if share > 10 {
		fmt.Printf("\nOther programs used %.0f %% of the processors meanwhile: the times say little, the ratios less than usual.\n", share)
	}
	all.about += fmt.Sprintf("; other programs used %.0f %% of the processors", share)
	good = printVerdicts(os.Stdout, all.verdicts)
	if *write != "" {
		err = all.writeTo(*write)
	}
	return good, err
}

func writeAllocs(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
