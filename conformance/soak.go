package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Soak repeats the cases whose Case.Timing is set, of single brokers and of fleets, times times. Zero or less runs none.
// Eight run at the same time, to disturb each other. A run that reports a violation fails the test: the broker has a
// defect that Run does not always show, or the suite has one. A run in which the harness fails also fails the test. Soak
// begins no further run when more than 20 have failed. It repeats no case that could not run, and does not list it. The
// numbers of runs and failures are logged as a test attribute named figure. Harness.Timeout holds for each run.
//
// Open is called on the goroutine of the test. The functions that Open gives to tb.Cleanup run when their case ends, in
// reverse order, on a goroutine of the case; those of other cases may run at the same time. So they must not end the
// test. Directories made by tb.TempDir stay until the whole test ends.
func Soak(t *testing.T, h Harness, times int) {
	t.Helper()
	const atOnce = 8
	var cases []Case
	for _, c := range append(Cases(), FleetCases()...) {
		if c.Timing {
			cases = append(cases, c)
		}
	}
	var (
		mu      sync.Mutex
		report  = Report{broker: h.Name}
		skipped = map[string]bool{}
		ran     = map[string]int{}
		blamed  int
		all     sync.WaitGroup
		slots   = make(chan struct{}, atOnce)
		began   = time.Now()
	)
	defer all.Wait() // for an Open that ends the test
	// The repetitions of each case are spread over the whole time.
	for i := range times * len(cases) {
		c := cases[i%len(cases)]
		mu.Lock()
		skip := skipped[c.Name] || blamed > 20
		mu.Unlock()
		if skip {
			continue
		}
		slots <- struct{}{}
		tb := &cleaner{TB: t}
		t.Cleanup(tb.clean) // if Open ends the test
		sys := h.open(tb, &report)
		all.Go(func() {
			defer func() { <-slots }()
			defer tb.clean()
			ctx, cancel := context.WithTimeout(t.Context(), h.timeout())
			defer cancel()
			err := c.Run(ctx, sys)
			mu.Lock()
			defer mu.Unlock()
			var s *Skip
			switch {
			case errors.As(err, &s):
				skipped[c.Name] = true
			case err != nil:
				blamed++
				t.Errorf("%s, in run %d: %v", c.Name, ran[c.Name]+1, err)
			default:
				ran[c.Name]++
			}
		})
	}
	all.Wait()
	runs := 0
	for _, n := range ran {
		runs += n
	}
	t.Attr("figure", fmt.Sprintf("%d timing-sensitive cases %d times each on %s, %d runs in %v: %d runs reported a violation",
		len(ran), times, report.broker, runs, time.Since(began).Round(time.Second), blamed))
}

// cleaner is a testing.TB whose cleanups run when a case ends, not when the test does.
type cleaner struct {
	testing.TB
	mu    sync.Mutex
	funcs []func()
}

// Cleanup implements testing.TB.
func (c *cleaner) Cleanup(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.funcs = append(c.funcs, f)
}

func (c *cleaner) clean() {
	for {
		c.mu.Lock()
		n := len(c.funcs)
		if n == 0 {
			c.mu.Unlock()
			return
		}
		f := c.funcs[n-1]
		c.funcs = c.funcs[:n-1]
		c.mu.Unlock()
		f()
	}
}
