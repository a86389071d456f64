package main

import (
	"fmt"
	"io"
	"slices"
)

// figures are the counts of workers; see worker.js.
type figures struct {
	Expected, Delivered, Twice, Disorder, Disconnects int
	Errors                                            []string
	Latency                                           [][2]int // tenths of a millisecond, how often
}

func (f *figures) add(other figures) {
	f.Expected += other.Expected
	f.Delivered += other.Delivered
	f.Twice += other.Twice
	f.Disorder += other.Disorder
	f.Disconnects += other.Disconnects
	f.Errors = append(f.Errors, other.Errors...)
	f.Latency = append(f.Latency, other.Latency...)
}

// clean reports whether everything arrived once and in order.
func (f *figures) clean() bool {
	return f.Expected > 0 && f.Delivered == f.Expected && f.Twice+f.Disorder+f.Disconnects+len(f.Errors) == 0
}

// quantile returns the latency in milliseconds that a share of deliveries did not exceed.
func (f *figures) quantile(share float64) float64 {
	slices.SortFunc(f.Latency, func(a, b [2]int) int { return a[0] - b[0] })
	total := 0
	for _, bucket := range f.Latency {
		total += bucket[1]
	}
	rest := int(share * float64(total))
	for _, bucket := range f.Latency {
		if rest -= bucket[1]; rest < 0 {
			return float64(bucket[0]) / 10
		}
	}
	if len(f.Latency) == 0 {
		return 0
	}
	return float64(f.Latency[len(f.Latency)-1][0]) / 10
}

func (f *figures) print(w io.Writer, sent map[string]int) {
	said := 0
	for _, n := range sent {
		said += n
	}
	verdict := "everything delivered, once and in order"
	if !f.clean() {
		verdict = "NOT everything delivered, once and in order"
	}
	fmt.Fprintf(w, "said        %d messages in %d rooms\n", said, len(sent))
	fmt.Fprintf(w, "delivered   %d of %d: %s (twice %d, out of order %d, connections lost %d)\n",
		f.Delivered, f.Expected, verdict, f.Twice, f.Disorder, f.Disconnects)
	fmt.Fprintf(w, "latency     p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, longest %.1f ms (from the speaker's emit to the listener's handler)\n",
		f.quantile(0.5), f.quantile(0.99), f.quantile(0.999), f.quantile(1))
	for _, err := range f.Errors {
		fmt.Fprintln(w, "error      ", err)
	}
}
