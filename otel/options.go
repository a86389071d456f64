package otelbackplane

import (
	"github.com/crossroom/crossroom/internal/wire"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Options of an Observer. The zero value, and nil, are good defaults. New copies it.
type Options struct {
	// TracerProvider to take the tracer from. Nil: the global one, also if it is set
	// later.
	TracerProvider trace.TracerProvider
	// MeterProvider to take the meter from. Nil: the global one, also if it is set
	// later.
	MeterProvider metric.MeterProvider
	// Propagator writes and reads what messages carry. Nil: W3C trace context and
	// baggage. The Socket.IO wire carries the fields traceparent, tracestate and
	// baggage where tools in Node.js can set and read them, others under a key that
	// only Crossroom nodes know.
	Propagator propagation.TextMapPropagator
	// MaxHeader is how much of what the propagator writes travels with a message, and
	// is taken in from one: bytes of all names and values together. What is over it is
	// left out and counted, the trace's own fields last. Zero: DefaultMaxHeader. At
	// most wire.MaxHeader. Negative: nothing is carried or taken in, and every
	// node's spans begin traces of their own.
	MaxHeader int
	// Links makes the span of a received message the root of a trace of its own, with
	// a link to the publisher. The default is the publisher's child, so that a
	// broadcast is one trace from the request that caused it to the last node that
	// delivered it: each message is processed by itself, outside of any other span.
	// Set it if traces would become too large: one broadcast has a span on every node.
	Links bool
	// HideRooms leaves room names out of the telemetry, if they are secret or personal.
	HideRooms bool
	// SkipUnwanted leaves out the spans of nodes on which nobody is in the room that a
	// message is for. They are the way to see that such a node heard of it; but it has
	// to read messages for that which are otherwise dropped unread. (Broadcasts to
	// several rooms or to everybody are read anyway, and have their spans.)
	SkipUnwanted bool
}

// DefaultMaxHeader is Options.MaxHeader by default: a traceparent, the 512 bytes of a
// tracestate that everybody has to pass on, and a good deal of baggage.
const DefaultMaxHeader = 4096

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	switch {
	case out.MaxHeader == 0:
		out.MaxHeader = DefaultMaxHeader
	case out.MaxHeader > wire.MaxHeader:
		out.MaxHeader = wire.MaxHeader
	case out.MaxHeader < 0:
		out.MaxHeader = 0
	}
	return out
}
