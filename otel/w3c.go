package otelbackplane

import (
	"encoding/hex"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// Nearly every message carries a traceparent and nothing else. For the propagator that
// is on by default it is written and read here, without an allocation for each message;
// everything else is left to the propagator. Tests hold the two to the same result.

const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	baggageName = "baggage"

	parentLen = 2 + 1 + 32 + 1 + 16 + 1 + 2
)

// parentWriter writes traceparents into memory that many of them share, and that is
// never written to twice. One that is kept keeps a kilobyte.
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

// readParent reads a traceparent of version 00 with flags that version knows. false: it
// is not one; another version may still be one for the propagator.
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
