package otelbackplane

import (
	"context"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/wire"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// carrier injects contexts into headers and extracts them. It counts defects of a header or of the propagator, and
// never returns them as errors.
type carrier struct {
	propagator propagation.TextMapPropagator
	w3c        bool     // the default one
	fields     []string // fields of the propagator, those of the trace first
	limit      int      // bytes
	metrics    *metrics
}

// Reasons for ignoring an entry of a header.
const (
	malformed = "malformed" // unreadable; the other entries are used
	oversized = "oversized" // over Options.MaxHeader
	panicked  = "panic"     // of the propagator
	unusable  = "unusable"  // dropped by the core: over wire.MaxHeader, not text, or a duplicate
)

func (c *carrier) init(opts *Options, m *metrics) {
	c.propagator, c.limit, c.metrics = opts.Propagator, opts.MaxHeader, m
	if c.propagator == nil {
		c.w3c = true
		c.propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	c.guard(context.Background(), func() { c.fields = slices.Clone(c.propagator.Fields()) })
	// The fields that identify the trace are dropped last.
	slices.SortStableFunc(c.fields, func(a, b string) int { return rank(a) - rank(b) })
}

func rank(field string) int {
	switch field {
	case traceparent:
		return 0
	case tracestate:
		return 2
	case baggageName:
		return 3
	}
	return 1
}

// guard calls the propagator.
func (c *carrier) guard(ctx context.Context, call func()) {
	defer func() {
		if recover() != nil {
			c.metrics.ignore(ctx, panicked, 1)
		}
	}()
	call()
}

// inject adds the fields of ctx to a header. own is the caller's header. If own is not empty, inject returns it with
// the new fields; otherwise it clears spare and returns that.
func (c *carrier) inject(ctx context.Context, own, spare map[string]string, w *parentWriter) map[string]string {
	if c.limit <= 0 {
		return own
	}
	h := own
	if h == nil {
		if h = spare; h == nil {
			h = make(map[string]string, 1)
		}
		clear(h)
	}
	sc := trace.SpanContextFromContext(ctx)
	if c.w3c && len(own) == 0 && sc.IsValid() && sc.TraceState().Len() == 0 && baggage.FromContext(ctx).Len() == 0 &&
		len(traceparent)+parentLen <= c.limit {
		h[traceparent] = w.write(sc)
		return h
	}
	c.injectAll(ctx, h)
	if len(h) == 0 {
		return own
	}
	return h
}

// injectAll lets the propagator write into a map of its own, and copies the fields that fit.
func (c *carrier) injectAll(ctx context.Context, h map[string]string) {
	wrote := propagation.MapCarrier{}
	c.guard(ctx, func() { c.propagator.Inject(ctx, wrote) })
	room := wire.MaxHeader
	for name, value := range h {
		if _, replaced := wrote[name]; !replaced {
			room -= len(name) + len(value)
		}
	}
	room = min(room, c.limit)
	names := slices.SortedFunc(maps.Keys(wrote), func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	for _, name := range names {
		value := wrote[name]
		delete(h, name)
		switch size := len(name) + len(value); {
		case value == "":
		case !utf8.ValidString(name) || !utf8.ValidString(value):
			c.metrics.ignore(ctx, malformed, 1)
		case size > room:
			c.metrics.ignore(ctx, oversized, 1)
		default:
			room -= size
			h[name] = value
		}
	}
}

// extract returns ctx with the fields of a header that fit into the limit. Fields that identify the trace come first.
// ignored counts the fields that extract dropped.
func (c *carrier) extract(ctx context.Context, h map[string]string) (out context.Context, ignored int) {
	if c.limit <= 0 {
		return ctx, 0
	}
	room, present := c.limit, false
	var fits propagation.MapCarrier
	for _, name := range c.fields {
		value := h[name]
		switch size := len(name) + len(value); {
		case value == "":
		case size > room:
			c.metrics.ignore(ctx, oversized, 1)
			ignored++
		default:
			room -= size
			if fits == nil {
				fits = make(propagation.MapCarrier, len(c.fields))
			}
			fits[name] = value
			present = present || name != baggageName
		}
	}
	if len(fits) == 0 {
		return ctx, ignored
	}
	out = ctx
	sound := false
	c.guard(ctx, func() {
		out = c.propagator.Extract(ctx, fits)
		sound = true
	})
	if !sound {
		return ctx, ignored + 1
	}
	sc := trace.SpanContextFromContext(out)
	bad := present && !sc.IsValid()
	if c.w3c {
		bad = bad || fits[tracestate] != "" && sc.TraceState().Len() == 0
		bad = bad || fits[baggageName] != "" && baggage.FromContext(out).Len() == 0
	}
	if bad {
		c.metrics.ignore(ctx, malformed, 1)
		return out, ignored + 1
	}
	return out, ignored
}

// parent is a fast form of extract for the default propagator and a header that has only a traceparent of version 00.
func (c *carrier) parent(h map[string]string) (sc trace.SpanContext, ok bool) {
	if !c.w3c || len(h) == 0 || len(traceparent)+parentLen > c.limit || h[tracestate] != "" || h[baggageName] != "" {
		return sc, false
	}
	return readParent(h[traceparent])
}
