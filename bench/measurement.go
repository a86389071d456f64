package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"text/tabwriter"
	"time"
)

// measurement is one row of the table: contenders that do the same work, and the bars that compare them.
type measurement struct {
	name string
	// what describes one operation in one sentence.
	what string
	// kept contenders are opened once. The others are opened for each round, so that none of them costs the server
	// anything while another one runs.
	kept bool
	// once measures one round: further ones would return the same.
	once bool
	// speeds puts what the contenders do in a second into docs/BENCHMARKS.md, too.
	speeds     bool
	contenders []contender
	bars       []bar
}

// contender is one way to do a measurement's work.
type contender struct {
	name string
	// open prepares the rounds.
	open func(ctx context.Context, s *stage) (round, error)
}

// round does the work for about stage.length and returns the number of operations, and figures of its own. Processor
// time and allocations are measured around it, unless it returns 0.
type round func(ctx context.Context) (operations int64, more figures, err error)

// stage has the open resources of one contender.
type stage struct {
	*env
	length time.Duration
	undo   []func() error
}

// later makes close call f, before the functions of earlier calls.
func (s *stage) later(f func() error) { s.undo = append(s.undo, f) }

func (s *stage) close() error {
	var errs []error
	for _, f := range slices.Backward(s.undo) {
		errs = append(errs, f())
	}
	s.undo = nil
	return errors.Join(errs...)
}

// figures are the results of one contender in one round.
type figures []figure

type figure struct {
	unit  string
	value float64
}

// Units of the figures that are measured around a round.
const (
	cpu    = "CPU ns"            // of one operation
	others = "CPU ns, not in Go" // the part of it that servers and Node.js use
	allocs = "allocations"       // of one operation, in this process
	speed  = "a second"          // operations
)

// of returns the figure with that unit.
func (f figures) of(unit string) (float64, bool) {
	for _, x := range f {
		if x.unit == unit {
			return x.value, true
		}
	}
	return 0, false
}

// results are the figures of all rounds, by contender.
type results map[string][]figures

// column returns one unit of one contender, round by round.
func (r results) column(contender, unit string) []float64 {
	var out []float64
	for _, f := range r[contender] {
		if v, ok := f.of(unit); ok {
			out = append(out, v)
		}
	}
	return out
}

// run lets the selected contenders alternate, so that other load on the machine affects all of them, and prints their
// results.
func (m measurement) run(ctx context.Context, e *env, only *regexp.Regexp, out io.Writer) (r results, err error) {
	var wanted []*turns
	for _, c := range m.contenders {
		if only.MatchString(m.name + "/" + c.name) {
			wanted = append(wanted, &turns{contender: c, stage: &stage{env: e, length: e.length}})
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	fmt.Fprintf(out, "\n%s: %s\n", m.name, m.what)
	rounds := e.rounds
	if m.once {
		rounds = 1
	}
	defer func() {
		for _, t := range wanted {
			err = errors.Join(err, t.stage.close())
		}
	}()
	r = results{}
	for i := range rounds {
		for j := range wanted {
			// Each contender goes first as often as the others, and each other one goes before it as often as after
			// it.
			k := (i/2 + j) % len(wanted)
			if i%2 == 1 {
				k = len(wanted) - 1 - k
			}
			t := wanted[k]
			f, err := t.next(ctx, m)
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", m.name, t.name, err)
			}
			r[t.name] = append(r[t.name], f)
		}
	}
	r.print(out, wanted)
	return r, nil
}

// turns is a running contender.
type turns struct {
	contender
	stage *stage
	round round
}

// next does one round.
func (t *turns) next(ctx context.Context, m measurement) (f figures, err error) {
	// With -cpuprofile, the label tells one contender's samples from another's.
	pprof.Do(ctx, pprof.Labels("contender", t.name), func(ctx context.Context) {
		if t.round == nil {
			if t.round, err = t.open(ctx, t.stage); err != nil {
				return
			}
			if !m.once { // buffers grow to their size
				t.stage.length = t.stage.env.length / 8
				if _, _, err = t.round(ctx); err != nil {
					return
				}
				t.stage.length = t.stage.env.length
			}
		}
		f, err = t.stage.measure(ctx, t.round)
		if !m.kept {
			t.round = nil
			err = errors.Join(err, t.stage.close())
		}
	})
	return f, err
}

// measure runs a round.
func (s *stage) measure(ctx context.Context, do round) (figures, error) {
	var before, after runtime.MemStats
	runtime.GC() // a contender must not pay for the garbage of the one before
	runtime.ReadMemStats(&before)
	start, used, theirs := time.Now(), s.cpuTime(), s.othersTime()
	n, more, err := do(ctx)
	used, theirs, took := s.cpuTime()-used, s.othersTime()-theirs, time.Since(start)
	runtime.ReadMemStats(&after)
	if err != nil || n == 0 {
		return more, err
	}
	each := float64(n)
	return append(figures{
		{cpu, float64(used) / each},
		{others, float64(theirs) / each},
		{allocs, float64(after.Mallocs-before.Mallocs) / each},
		{speed, each / took.Seconds()},
	}, more...), nil
}

// repeat does n operations repeatedly for about the stage's length.
func (s *stage) repeat(n int, do func(n int) error) (operations int64, more figures, err error) {
	for end := time.Now().Add(s.length); operations == 0 || time.Now().Before(end); operations += int64(n) {
		if err := do(n); err != nil {
			return 0, nil, err
		}
	}
	return operations, nil, nil
}

// oneByOne does one operation after another and returns their times.
func (s *stage) oneByOne(do func() error) (operations int64, more figures, err error) {
	var took []time.Duration
	for end := time.Now().Add(s.length); ; {
		start := time.Now()
		if start.After(end) && len(took) > 0 {
			break
		}
		if err := do(); err != nil {
			return 0, nil, err
		}
		took = append(took, time.Since(start))
	}
	return int64(len(took)), percentiles(took), nil
}

func percentiles(took []time.Duration) figures {
	slices.Sort(took)
	micros := func(q int) float64 { return float64(took[len(took)*q/100]) / 1e3 }
	return figures{{"p50 µs", micros(50)}, {"p99 µs", micros(99)}}
}

func (r results) print(out io.Writer, order []*turns) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "contender\tmedian\t\tquartiles\t\n")
	for _, t := range order {
		for _, f := range r[t.name][0] {
			s := spreadOf(r.column(t.name, f.unit))
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", t.name, number(s.median), f.unit, s.quartiles())
		}
	}
	w.Flush()
}
