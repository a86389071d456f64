package main

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestBarsAreJudgedByTheMedianOfRoundByRoundRatios(t *testing.T) {
	r := results{
		"a": {{{"msg/s", 100}}, {{"msg/s", 400}}, {{"msg/s", 90}}},
		"b": {{{"msg/s", 50}}, {{"msg/s", 100}}, {{"msg/s", 30}}}, // 2, 4, 3
	}
	bars := []bar{
		atLeast(3, "reached", ratio("msg/s", "a", "b")),
		atLeast(3.1, "missed", ratio("msg/s", "a", "b")),
		atMost(100, "kept", value("a", "msg/s")),
		atMost(20, "passed", excess("msg/s", "a", "b")), // 50, 300, 60
		atMost(1, "left out", value("c", "msg/s")),
	}
	var out strings.Builder
	if printVerdicts(&out, judge(bars, r)) {
		t.Error("two bars are short, and that was not reported")
	}
	var got []string
	for l := range strings.Lines(out.String()) {
		if f := strings.Fields(l); len(f) > 0 && f[0] == "bar" {
			got = append(got, strings.Join(f, " "))
		}
	}
	want := []string{
		"bar reached 3.00 ≥ 3.00 ok",
		"bar missed 3.00 ≥ 3.10 short",
		"bar kept 100 ≤ 100 ok",
		"bar passed 60.0 ≤ 20.0 short",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestContendersTakeTurns(t *testing.T) {
	var order []string
	turn := func(name string) contender {
		return contender{name, func(context.Context, *env) (figures, error) {
			order = append(order, name)
			return figures{{"turns", float64(len(order))}}, nil
		}}
	}
	m := measurement{name: "m", contenders: []contender{turn("a"), turn("b"), turn("c")}}
	var out strings.Builder
	r, err := m.run(context.Background(), &env{rounds: 3}, regexp.MustCompile("^m/[ac]$"), &out)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, ""), "accaac"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	if got := r.column("c", "turns"); len(got) != 3 || got[0] != 2 || got[1] != 3 || got[2] != 6 {
		t.Errorf("c has %v", got)
	}
}

func TestEveryMeasurementHasItsOwnName(t *testing.T) {
	seen := map[string]bool{}
	note := func(name string) {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
	}
	for _, m := range slices.Concat(table, natsTable, otelTable) {
		note(m.name)
		for _, c := range m.contenders {
			note(m.name + "/" + c.name)
		}
		for _, b := range m.bars {
			note("bar " + b.name)
		}
	}
}
