package otelbackplane

import (
	"encoding/hex"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Nearly every message carries a traceparent and nothing else. For the default propagator this file writes and reads
// it without an allocation for each message, and leaves everything else to the propagator. Tests require the same
// result from both.

const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	baggageName = "baggage"

	parentLen = 2 + 1 + 32 + 1 + 16 + 1 + 2
)

// parentWriter writes traceparents into shared blocks of memory. No part of a block is written twice. A kept
// traceparent keeps its block of one kilobyte.
type parentWriter struct{ block strings.Builder }

func (w *parentWriter) write(sc trace.SpanContext) string {
	if w.block.Cap()-w.block.Len() < parentLen {
		w.block.Reset()
		w.block.Grow(1 << 10)
	}
	var b [parentLen]byte
	traceID, spanID := sc.TraceID(), sc.SpanID()
	b[0], b[1], b[2] = '0', '0', '-'
	hex.Encode(b[3:35], traceID[:])
	b[35] = '-'
	hex.Encode(b[36:52], spanID[:])
	b[52], b[53] = '-', '0'
	b[54] = '0' + byte(sc.TraceFlags()&(trace.FlagsSampled|trace.FlagsRandom))
	start := w.block.Len()
	w.block.Write(b[:])
	return w.block.String()[start:]
}

// readParent reads a traceparent of version 00 with the flags of that version. It returns false for anything else,
// which the propagator may still accept.
func readParent(s string) (sc trace.SpanContext, ok bool) {
	if len(s) != parentLen || s[:3] != "00-" || s[35] != '-' || s[52:54] != "-0" || s[54] < '0' || s[54] > '3' {
		return sc, false
	}
	traceID, err := trace.TraceIDFromHex(s[3:35])
	if err != nil {
		return sc, false
	}
	spanID, err := trace.SpanIDFromHex(s[36:52])
	if err != nil {
		return sc, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(s[54] - '0'), Remote: true,
	}), true
}
