package main

import (
	"fmt"
	"os"
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
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(old), beginMark)
	_, after, ends := strings.Cut(rest, endMark)
	if !begins || !ends {
		return fmt.Errorf("bench: write the figures to %s: no line %q and after it %q", name, beginMark, endMark)
	}
	return os.WriteFile(name, []byte(before+beginMark+"\n"+r.markdown()+"\n"+endMark+after), 0o644)
}

// markdown returns a table of the bars, and one of the results of the first measurement's contenders.
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
	m := r.measured[0]
	fmt.Fprintf(&b, "\nNo bars, because they are times: %s.\n\n| | a second | CPU, µs |\n|---|---|---|\n", m.what)
	for _, c := range m.contenders {
		second := spreadOf(m.results.column(c.name, speed)).median
		used := spreadOf(m.results.column(c.name, cpu)).median
		fmt.Fprintf(&b, "| %s | %.0f,000 | %s |\n", c.name, second/1e3, number(used/1e3))
	}
	return b.String()
}
