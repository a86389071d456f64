package multilink

import (
	"cmp"
	"slices"
)

// runs remembers which numbers of an origin were seen. They arrive nearly in order, in a
// run. After an outage a new run begins. A client of the broker can forge a number. Therefore
// a jump ahead starts a new run beside the old one, whose next numbers are still fresh.
type runs []run

// run is a range of numbers, and a window over the last of them.
type run struct {
	start, top uint64 // the lowest and the highest number seen
	count      uint64 // numbers seen
	bits       [windowSize / 64]uint64
}

const (
	// windowSize is how far apart two numbers of one run may be.
	windowSize = 2048
	// maxRuns is the limit of runs for each origin. A new run replaces the one with the
	// fewest numbers.
	maxRuns = 4
)

// fresh records a number and reports whether it was not seen before. A number of a run
// before its window counts as seen: losing such a late message is better than delivering it
// twice.
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
		case n >= w.start:
			return false // late
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
	w := run{start: n, top: n}
	if len(*r) < maxRuns {
		*r = append(*r, w)
		return &(*r)[len(*r)-1]
	}
	shortest := slices.MinFunc(*r, func(a, b run) int { return cmp.Compare(a.count, b.count) })
	i := slices.Index(*r, shortest)
	(*r)[i] = w
	return &(*r)[i]
}

func (w *run) has(n uint64) bool { return w.bits[n%windowSize/64]&(1<<(n%64)) != 0 }

// note records a number that is in the window, or less than a window ahead of it.
func (w *run) note(n uint64) {
	if n > w.top {
		for i := w.top + 1; i < n; i++ {
			w.bits[i%windowSize/64] &^= 1 << (i % 64)
		}
		w.top = n
	}
	w.start = min(w.start, n)
	w.count++
	w.bits[n%windowSize/64] |= 1 << (n % 64)
}
