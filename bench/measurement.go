package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// measurement is one row of the table: contenders that do the same work, and the
// bars that hold what they reach against a limit.
type measurement struct {
	name string
	// what is measured, in one sentence, printed above the figures.
	what string
	// once: more rounds would tell nothing new (a count of bytes, say).
	once       bool
	contenders []contender
	bars       []bar
}

// contender is one way to do a measurement's work.
type contender struct {
	name string
	// round does the work once, for about env.seconds if it is a matter of time.
	round func(ctx context.Context, e *env) (figures, error)
}

// figures are what one contender reached in one round.
type figures []figure

type figure struct {
	unit  string
	value float64
}

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

// run lets the contenders that are wanted take turns, so that whatever else this
// machine does meets all of them, and prints what they reached.
func (m measurement) run(ctx context.Context, e *env, only *regexp.Regexp, out io.Writer) (results, error) {
	var wanted []contender
	for _, c := range m.contenders {
		if only.MatchString(m.name + "/" + c.name) {
			wanted = append(wanted, c)
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
	r := results{}
	for i := range rounds {
		for j := range wanted {
			c := wanted[(i+j)%len(wanted)]
			var f figures
			var err error
			// With -cpuprofile, tells one contender's samples from another's.
			pprof.Do(ctx, pprof.Labels("contender", c.name), func(ctx context.Context) { f, err = c.round(ctx, e) })
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", m.name, c.name, err)
			}
			r[c.name] = append(r[c.name], f)
		}
	}
	r.print(out, wanted)
	return r, nil
}

func (r results) print(out io.Writer, order []contender) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "contender\tmedian\t\teach round\t\n")
	for _, c := range order {
		for _, f := range r[c.name][0] {
			col := r.column(c.name, f.unit)
			fmt.Fprintf(w, "%s\t%s\t%s", c.name, number(median(col)), f.unit)
			for _, v := range col {
				fmt.Fprintf(w, "\t%s", number(v))
			}
			fmt.Fprintln(w, "\t")
		}
	}
	w.Flush()
}

// bar is a limit that a figure has to keep.
type bar struct {
	name string
	// figure is called once for the bar, with all rounds; no values mean that a
	// contender was left out.
	figure func(r results) []float64
	limit  float64
	// least: the figure has to be at least the limit, otherwise at most.
	least bool
}

func atLeast(limit float64, name string, figure func(results) []float64) bar {
	return bar{name: name, figure: figure, limit: limit, least: true}
}

func atMost(limit float64, name string, figure func(results) []float64) bar {
	return bar{name: name, figure: figure, limit: limit}
}

// value is a contender's own figure.
func value(contender, unit string) func(results) []float64 {
	return func(r results) []float64 { return r.column(contender, unit) }
}

// ratio is one contender's figure over another's, taken round by round: what
// disturbs a round mostly disturbs both.
func ratio(unit, over, under string) func(results) []float64 {
	return pairs(unit, over, under, func(a, b float64) float64 { return a / b })
}

// excess is how much one contender's figure is above another's, round by round.
func excess(unit, of, above string) func(results) []float64 {
	return pairs(unit, of, above, func(a, b float64) float64 { return max(0, a-b) })
}

func pairs(unit, first, second string, f func(a, b float64) float64) func(results) []float64 {
	return func(r results) []float64 {
		a, b := r.column(first, unit), r.column(second, unit)
		var out []float64
		for i := range min(len(a), len(b)) {
			out = append(out, f(a[i], b[i]))
		}
		return out
	}
}

// verdict is a bar with its figure: the median over the rounds.
type verdict struct {
	bar
	median float64
	rounds []float64
}

// judge returns a verdict for every bar whose contenders took part.
func judge(bars []bar, r results) []verdict {
	var out []verdict
	for _, b := range bars {
		if all := b.figure(r); len(all) > 0 {
			out = append(out, verdict{bar: b, median: median(all), rounds: all})
		}
	}
	return out
}

func (v verdict) ok() bool {
	if v.least {
		return v.median >= v.limit
	}
	return v.median <= v.limit
}

// printVerdicts prints the rounds behind every figure and then one line a bar. It
// reports whether all are ok.
func printVerdicts(out io.Writer, all []verdict) bool {
	fmt.Fprintln(out)
	for _, v := range all {
		if len(v.rounds) > 1 {
			each := make([]string, len(v.rounds))
			for i, f := range v.rounds {
				each[i] = number(f)
			}
			fmt.Fprintf(out, "rounds of %s: %s\n", v.name, strings.Join(each, " "))
		}
	}
	fmt.Fprintln(out)
	good := true
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, v := range all {
		sign, word := "≤", "ok"
		if v.least {
			sign = "≥"
		}
		if !v.ok() {
			word, good = "short", false
		}
		fmt.Fprintf(w, "bar\t%s\t%s\t%s %s\t%s\n", v.name, number(v.median), sign, number(v.limit), word)
	}
	w.Flush()
	return good
}

// median returns the middle value, or the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// number writes three significant digits, or all before the point.
func number(v float64) string {
	digits := 0
	switch {
	case v == 0 || v >= 100:
	case v >= 10:
		digits = 1
	case v >= 1:
		digits = 2
	default:
		digits = 3
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
