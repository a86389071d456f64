package otelbackplane

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

func carrierOf(t *testing.T, opts Options) *carrier {
	m := new(metrics)
	var err error
	m.ignored, err = noop.NewMeterProvider().Meter("").Int64Counter("ignored")
	require.NoError(t, err)
	c := new(carrier)
	c.init(&opts, m)
	return c
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// What identifies the trace has room before everything else, in whichever order a propagator names its fields.
func TestTraceHasRoomFirst(t *testing.T) {
	composite := propagation.NewCompositeTextMapPropagator(propagation.Baggage{}, propagation.TraceContext{})
	c := carrierOf(t, Options{Propagator: composite, MaxHeader: 100})
	h := map[string]string{"baggage": "k=" + strings.Repeat("v", 60), traceparent: parent}
	ctx, ignored := c.extract(context.Background(), h)
	require.Equal(t, "b7ad6b7169203331", trace.SpanContextFromContext(ctx).SpanID().String())
	require.Equal(t, 1, ignored)

	all, _ := carrierOf(t, Options{Propagator: composite, MaxHeader: 1000}).extract(context.Background(), h)
	require.Equal(t, map[string]string{traceparent: parent}, c.inject(all, nil, nil, new(parentWriter)))
}

func TestLimitOfHeaders(t *testing.T) {
	size := len(traceparent) + parentLen
	in := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: parent})
	for limit, fits := range map[int]bool{size: true, size - 1: false, 1: false} {
		c := carrierOf(t, Options{MaxHeader: limit})
		assert.Equal(t, fits, len(c.inject(in, nil, nil, new(parentWriter))) == 1, "limit %d", limit)
		out, ignored := c.extract(context.Background(), map[string]string{traceparent: parent})
		assert.Equal(t, fits, trace.SpanContextFromContext(out).IsValid(), "limit %d", limit)
		assert.Equal(t, !fits, ignored == 1, "limit %d", limit)
	}
	for _, limit := range []int{0, -1} {
		c := carrierOf(t, Options{MaxHeader: limit})
		assert.Nil(t, c.inject(in, nil, nil, new(parentWriter)))
		_, ignored := c.extract(context.Background(), map[string]string{traceparent: parent})
		assert.Zero(t, ignored, "without a limit for headers none is read, so none is ignored")
	}
}
