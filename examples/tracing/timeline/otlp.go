package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// span is the drawn part of a span.
type span struct {
	service    string
	name       string
	kind       string // producer, consumer, …; empty if there is nothing to say
	trace      string
	id, parent string
	start, end time.Time
	failed     string // the status text of an error
	attrs      map[string]string
	events     []event

	children []*span
}

type event struct {
	name  string
	at    time.Time
	attrs map[string]string
}

// The drawn parts of OTLP JSON. Numbers may be text, and enumerations names or numbers.
type (
	export struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []keyValue }
			ScopeSpans []struct{ Spans []jsonSpan }
		}
	}
	jsonSpan struct {
		TraceID, SpanID, ParentSpanID, Name string
		Kind                                any
		StartTimeUnixNano, EndTimeUnixNano  json.Number
		Attributes                          []keyValue
		Events                              []struct {
			Name         string
			TimeUnixNano json.Number
			Attributes   []keyValue
		}
		Status struct {
			Code    any
			Message string
		}
	}
	keyValue struct {
		Key   string
		Value map[string]any
	}
)

// read reads lines of OTLP JSON and returns all spans.
func read(r io.Reader) (all []*span, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for n := 1; lines.Scan(); n++ {
		var e export
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, resource := range e.ResourceSpans {
			service := texts(resource.Resource.Attributes)["service.name"]
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					sp, err := s.span(service)
					if err != nil {
						return nil, fmt.Errorf("line %d: span %q: %w", n, s.Name, err)
					}
					all = append(all, sp)
				}
			}
		}
	}
	return all, lines.Err()
}

func (j *jsonSpan) span(service string) (*span, error) {
	s := &span{service: service, name: j.Name, trace: j.TraceID, id: j.SpanID, parent: j.ParentSpanID, attrs: texts(j.Attributes)}
	kinds := []string{"", "", "server", "client", "producer", "consumer"}
	if i := number(j.Kind, "SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"); i < len(kinds) {
		s.kind = kinds[i]
	}
	if number(j.Status.Code, "STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR") == 2 {
		s.failed = j.Status.Message
		if s.failed == "" {
			s.failed = "error"
		}
	}
	var err error
	if s.start, err = at(j.StartTimeUnixNano); err != nil {
		return nil, err
	}
	if s.end, err = at(j.EndTimeUnixNano); err != nil {
		return nil, err
	}
	for _, e := range j.Events {
		when, err := at(e.TimeUnixNano)
		if err != nil {
			return nil, err
		}
		s.events = append(s.events, event{e.Name, when, texts(e.Attributes)})
	}
	return s, nil
}

func number(v any, names ...string) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case string:
		return slices.Index(names, v)
	}
	return 0
}

func at(n json.Number) (time.Time, error) {
	ns, err := strconv.ParseInt(n.String(), 10, 64)
	return time.Unix(0, ns), err
}

// texts are the attributes whose values have a text form.
func texts(list []keyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		for kind, v := range kv.Value {
			if kind != "arrayValue" && kind != "kvlistValue" {
				m[kv.Key] = fmt.Sprint(v)
			}
		}
	}
	return m
}

// tree makes a tree of one trace: the one with that id, or else the last that has a root. It returns its spans in the
// order of the rows.
func tree(all []*span, id string) (rows []*span, depth map[*span]int, err error) {
	byID := map[string]*span{}
	for _, s := range all {
		byID[s.trace+s.id] = s
	}
	var root *span
	for _, s := range all {
		if parent := byID[s.trace+s.parent]; parent != nil {
			parent.children = append(parent.children, s)
		} else if (id == "" || strings.EqualFold(s.trace, id)) && (s.parent == "" || id != "") && (root == nil || s.start.After(root.start)) {
			root = s
		}
	}
	if root == nil {
		return nil, nil, errors.New("no such trace, or it has no root")
	}
	depth = map[*span]int{}
	var walk func(s *span, d int)
	walk = func(s *span, d int) {
		rows, depth[s] = append(rows, s), d
		slices.SortFunc(s.children, func(a, b *span) int { return a.start.Compare(b.start) })
		for _, c := range s.children {
			walk(c, d+1)
		}
	}
	walk(root, 0)
	return rows, depth, nil
}
