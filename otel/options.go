package otelbackplane

import (
	"github.com/crossroom/crossroom/internal/wire"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Options configure an Observer. The zero value and nil mean the defaults. New copies them.
type Options struct {
	// TracerProvider provides the tracer. Nil means the global provider; the program may set it after New.
	TracerProvider trace.TracerProvider
	// MeterProvider provides the meter. Nil means the global provider; the program may set it after New.
	MeterProvider metric.MeterProvider
	// Propagator writes and reads the context in the header of messages. Its methods are called at the same time from
	// several goroutines, and must not block. Nil means W3C trace context and baggage. On the Socket.IO wire the fields
	// traceparent, tracestate and baggage are keys that Node.js tools can set and read. Other fields travel under a key
	// that only Crossroom nodes know.
	Propagator propagation.TextMapPropagator
	// MaxHeader limits the fields of the propagator in one message, sent or received: the sum of the bytes of all names
	// and values. Fields over the limit are dropped and counted; the fields of the trace are dropped last. Zero means
	// DefaultMaxHeader. A value above 8 KiB counts as 8 KiB. With a negative value no context travels, and each node
	// starts traces of its own.
	MaxHeader int
	// Links makes the span of a received message the root of a new trace, with a link to the publisher's span. By
	// default the span is a child of the publisher's span, so that a broadcast is one trace from the request that
	// caused it to the last node that delivered it. Set Links if traces become too large: one broadcast may have a
	// span on every node.
	Links bool
	// HideRooms keeps room names out of the telemetry, for names that are secret or personal. Spans then have the types
	// of errors in place of their texts.
	HideRooms bool
	// SkipUnwanted omits the deliver span of a message to a single room in which the node has no member. Such a span,
	// with the outcome unwanted, proves that the node received the message. To make it, each node receives and reads all
	// messages to single rooms: its namespaces are always static (package backplane, section "Subscriptions"). Set
	// SkipUnwanted in a fleet with many rooms and nodes. On a broker with Capabilities.OnlyExactly namespaces are dynamic
	// nevertheless, and messages to rooms without a subscription of the node have no span. Broadcasts to several rooms or
	// to all members have their spans in every case.
	SkipUnwanted bool
}

// DefaultMaxHeader is the default of Options.MaxHeader, in bytes. It has room for a traceparent, for the 512 bytes of
// tracestate that every implementation must propagate, and for baggage.
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
