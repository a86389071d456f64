package multilink

import "slices"

// runs remembers which numbers of an origin were seen. They arrive nearly in order, in a
// run. After an outage a new run begins.
//
// A client of the broker can forge numbers. Therefore no number is taken for a copy unless it
// was seen, however far ahead others are. Numbers are forgotten in a bounded memory, and a copy
// of a forgotten one is fresh again.
type runs []run

// run is a range of numbers: a window over the last of them, and intervals of earlier ones.
type run struct {
	top   uint64     // the highest number seen
	count uint64     // numbers seen
	left  []interval // numbers seen that have left the window, in order
	bits  [windowSize / 64]uint64
}

// interval is a range of numbers that were all seen.
type interval struct{ first, last uint64 }

const (
	// windowSize is how far apart two numbers of one run may be.
	windowSize = 8192
	// maxRuns is the limit of runs for each origin. A new run replaces the one with the
	// fewest numbers.
	maxRuns = 4
	// maxIntervals is the limit of intervals for each run. The shortest is forgotten.
	maxIntervals = 16
)

// fresh records a number and reports whether it was not seen before.
func (r *runs) fresh(n uint64) bool {
	var in, below *run
	for i := range *r {
		w := &(*r)[i]
		switch {
		case n > w.top:
			if n-w.top < windowSize && (below == nil || w.top > below.top) {
				below = w
			}
		case w.top-n < windowSize:
			if w.has(n) {
				return false
			}
			in = w
		case slices.ContainsFunc(w.left, func(v interval) bool { return v.first <= n && n <= v.last }):
			return false
		}
	}
	if in == nil {
		in = below
	}
	if in == nil {
		in = r.begin(n)
	}
	in.note(n)
	return true
}

// begin starts a run with n.
func (r *runs) begin(n uint64) *run {
	w := run{top: n}
	if len(*r) < maxRuns {
		*r = append(*r, w)
		return &(*r)[len(*r)-1]
	}
	shortest := &(*r)[0]
	for i := range *r {
		if (*r)[i].count < shortest.count {
			shortest = &(*r)[i]
		}
	}
	*shortest = w
	return shortest
}

func (w *run) has(n uint64) bool { return w.bits[n%windowSize/64]&(1<<(n%64)) != 0 }

// note records a number that is in the window, or less than a window ahead of it.
func (w *run) note(n uint64) {
	for w.top < n {
		if w.top%64 == 63 && n-w.top >= 64 && w.bits[(w.top+1)%windowSize/64] == 0 {
			w.top += 64 // no number leaves
			continue
		}
		w.top++
		if w.has(w.top) { // the number that leaves the window
			w.leave(w.top - windowSize)
		}
		w.bits[w.top%windowSize/64] &^= 1 << (w.top % 64)
	}
	w.count++
	w.bits[n%windowSize/64] |= 1 << (n % 64)
}

// leave keeps a number that leaves the window, which is higher than those before.
func (w *run) leave(n uint64) {
	if i := len(w.left) - 1; i >= 0 && w.left[i].last == n-1 {
		w.left[i].last = n
		return
	}
	if len(w.left) == maxIntervals {
		shortest := 0
		for i, v := range w.left {
			if v.last-v.first < w.left[shortest].last-w.left[shortest].first {
				shortest = i
			}
		}
		w.left = slices.Delete(w.left, shortest, shortest+1)
	}
	w.left = append(w.left, interval{n, n})
}
