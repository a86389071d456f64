package errorlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/internal/errorlog"
)

// counted is an error with its number.
type counted struct {
	cause string
	n     int
}

func (c *counted) Error() string { return fmt.Sprint(c.cause, " ", c.n) }

func last(list []string) string { return list[len(list)-1] }

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var all []string
		passed := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		lost := 0
		l := errorlog.Limiter{
			Cause: func(err error) any {
				if c, ok := err.(*counted); ok {
					return c.cause
				}
				return nil
			},
			Merge: func(w, err error) error { return &counted{w.(*counted).cause, w.(*counted).n + err.(*counted).n} },
			Pass: func(_ context.Context, err error) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, err.Error())
			},
			Lost: func() { lost++ },
		}
		report := func(err error) { l.Report(t.Context(), err) }
		for range 1000 {
			report(&counted{"a", 1})
		}
		report(&counted{"b", 1})
		report(errors.New("x"))
		report(errors.New("x"))
		assert.Equal(t, []string{"a 1", "a 1", "a 1", "a 1", "b 1", "x", "x"}, passed(), "the first of each cause, and those without one")
		time.Sleep(errorlog.Interval + time.Millisecond)
		synctest.Wait()
		assert.Equal(t, "a 996", passed()[7])
		report(&counted{"b", 1})
		report(&counted{"a", 1})
		assert.Equal(t, []string{"b 1"}, passed()[8:], "b is new again, and a waits")
		time.Sleep(3 * errorlog.Interval)
		synctest.Wait()
		assert.Equal(t, []string{"a 1"}, passed()[9:])
		for i := range 1000 {
			report(&counted{fmt.Sprint(i), 1})
		}
		assert.Equal(t, 1000-256, lost, "causes beyond the limit")
		for range errorlog.Burst - 1 {
			report(&counted{"0", 1})
		}
		report(&counted{"0", 5})
		l.Close()
		assert.Equal(t, "0 5", last(passed()), "Close passes on what waits")
		report(&counted{"0", 6})
		assert.Equal(t, "0 6", last(passed()))
	})
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 世界": "plain ü 世界", "a\nb": `a\nb`, "\x1b[2J": `\x1b[2J`, "\xff\u202e": `\xff\u202e`, "\x00": `\x00`, "\ufffd": "\ufffd",
	} {
		assert.Equal(t, want, errorlog.Printable(in, 100))
	}
	assert.Equal(t, "ü…", errorlog.Printable("üüü", 3), "cut between characters")
	assert.Equal(t, "…", errorlog.Printable("\x80\x80\x80\x80", 2), "no character begins")
}
