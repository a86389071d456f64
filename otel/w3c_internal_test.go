package otelbackplane

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The fast path writes and reads the same as the propagator.
func TestTraceparentAsThePropagator(t *testing.T) {
	var w parentWriter
	kept := map[string]string{}
	for i := range 100 {
		for flags := range 4 {
			sc := trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{byte(i), 0xff, 15: 7}, SpanID: trace.SpanID{0xa0, 7: byte(i + 1)}, TraceFlags: trace.TraceFlags(flags),
			})
			carrier := propagation.MapCarrier{}
			propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), sc), carrier)
			got := w.write(sc)
			require.Equal(t, carrier[traceparent], got, "wrote")
			kept[strings.Clone(got)] = got
			if read, ok := readParent(got); !ok || read.TraceID() != sc.TraceID() || read.SpanID() != sc.SpanID() || read.TraceFlags() != sc.TraceFlags() || !read.IsRemote() {
				t.Fatalf("read %+v of %q", read, got)
			}
		}
	}
	for want, got := range kept {
		require.Equal(t, want, got)
	}
}

// FuzzReadParent requires that the propagator reads every traceparent that readParent accepts in the same way. The
// propagator handles all others.
func FuzzReadParent(f *testing.F) {
	good := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, s := range []string{good, good[:54], strings.ToUpper(good), strings.ToUpper(good[:35]) + good[35:], "01" + good[2:], good + "-", "00-" + strings.Repeat("0", 32) + good[35:],
		good[:36] + strings.Repeat("0", 16) + good[52:], good[:36] + strings.ToUpper(good[36:52]) + good[52:], good[:53] + "04", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sc, ok := readParent(s)
		want := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: s}))
		if ok && !sc.Equal(want) {
			t.Errorf("%q: read %+v, the propagator %+v", s, sc, want)
		}
	})
}
