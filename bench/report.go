package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// report is the result of a run.
type report struct {
	about    string
	measured []measured
	verdicts []verdict
}

type measured struct {
	measurement
	results results
}

func (r *report) add(m measurement, found results) {
	if found != nil {
		r.measured = append(r.measured, measured{m, found})
		r.verdicts = append(r.verdicts, judge(m.bars, found)...)
	}
}

// Marks in a file around a report.
const (
	beginMark = "<!-- Written by: make bench UPDATE=1 -->\n"
	endMark   = "<!-- End of what is written by make bench. -->\n"
)

// writeTo replaces the text between the marks of a file.
func (r *report) writeTo(name string) error {
	return writeBetween(name, beginMark, endMark, r.markdown())
}

// writeBetween replaces the text between two marks in a file.
func writeBetween(name, begin, end, text string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(old), begin)
	_, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		return fmt.Errorf("bench: write the figures to %s: no line %q and after it %q", name, begin, end)
	}
	return os.WriteFile(name, []byte(before+begin+"\n"+text+"\n"+end+after), 0o644)
}

// markdown returns a table of the bars, and one of the speeds of the contenders of each measurement that has them.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n", r.about)
	b.WriteString("| | median | quartiles | bar |\n|---|---|---|---|\n")
	for _, v := range r.verdicts {
		word := "at most"
		if v.least {
			word = "at least"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s %s |\n", v.name, number(v.median), v.quartiles(), word, number(v.limit))
	}
	b.WriteString("\nNo bars, because they are times.\n")
	for _, m := range r.measured {
		if !m.speeds {
			continue
		}
		fmt.Fprintf(&b, "\n%s%s:\n\n| | a second | quartiles | CPU, µs |\n|---|---|---|---|\n", strings.ToUpper(m.what[:1]), m.what[1:])
		for _, c := range m.contenders {
			second := spreadOf(m.results.column(c.name, speed))
			used := spreadOf(m.results.column(c.name, cpu))
			fmt.Fprintf(&b, "| %s | %s | %s to %s | %s |\n", c.name, whole(second.median), whole(second.low), whole(second.high), number(used.median/1e3))
		}
	}
	return b.String()
}

// whole formats a count with three significant digits and separators of thousands.
func whole(v float64) string {
	n := int64(v + 0.5)
	unit := int64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	digits := strconv.FormatInt((n+unit/2)/unit*unit, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
