package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// bar is a limit for a figure that compares contenders. None is a time.
type bar struct {
	name string
	// figure returns the figure of each round, from the contenders' figures of that round. It returns no values if a
	// contender was left out.
	figure func(r results) []float64
	limit  float64
	// least: the limit is a minimum, otherwise a maximum.
	least bool
}

func atLeast(limit float64, name string, figure func(results) []float64) bar {
	return bar{name: name, figure: figure, limit: limit, least: true}
}

func atMost(limit float64, name string, figure func(results) []float64) bar {
	return bar{name: name, figure: figure, limit: limit}
}

// times returns one contender's figure, divided by another's.
func times(unit, over, under string) func(results) []float64 {
	return paired(unit, func(v []float64) float64 { return v[0] / v[1] }, over, under)
}

// timesBeyond is times after subtracting a third contender's figure from both.
func timesBeyond(idle, unit, over, under string) func(results) []float64 {
	return paired(unit, func(v []float64) float64 { return (v[0] - v[2]) / (v[1] - v[2]) }, over, under, idle)
}

// added returns the difference of two contenders' figures, divided by a third one's.
func added(unit, with, without, under string) func(results) []float64 {
	return paired(unit, func(v []float64) float64 { return (v[0] - v[1]) / v[2] }, with, without, under)
}

// more returns the difference of two contenders' figures. It is for counts.
func more(unit, of, than string) func(results) []float64 {
	return paired(unit, func(v []float64) float64 { return max(0, v[0]-v[1]) }, of, than)
}

// paired makes one figure of several contenders' figures of the same round.
func paired(unit string, f func(values []float64) float64, contenders ...string) func(results) []float64 {
	return func(r results) []float64 {
		var out []float64
		for i := 0; ; i++ {
			var values []float64
			for _, c := range contenders {
				if col := r.column(c, unit); i < len(col) {
					values = append(values, col[i])
				}
			}
			if len(values) < len(contenders) {
				return out
			}
			out = append(out, f(values))
		}
	}
}

// verdict is a bar with its figure.
type verdict struct {
	bar
	spread
}

// judge returns a verdict for every bar whose contenders took part.
func judge(bars []bar, r results) []verdict {
	var out []verdict
	for _, b := range bars {
		if all := b.figure(r); len(all) > 0 {
			out = append(out, verdict{b, spreadOf(all)})
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

// printVerdicts prints one line for each bar and reports whether all are ok.
func printVerdicts(out io.Writer, all []verdict) bool {
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
		fmt.Fprintf(w, "bar\t%s\t%s\t(%s)\t%s %s\t%s\n", v.name, number(v.median), v.quartiles(), sign, number(v.limit), word)
	}
	w.Flush()
	return good
}

// spread is the median of a figure over the rounds, and its quartiles.
type spread struct{ low, median, high float64 }

func spreadOf(values []float64) spread {
	s := slices.Sorted(slices.Values(values))
	return spread{quantile(s, 0.25), quantile(s, 0.5), quantile(s, 0.75)}
}

func (s spread) quartiles() string { return number(s.low) + " to " + number(s.high) }

// quantile is a value between the two nearest of a sorted list.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// number formats three significant digits, or all before the point.
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
