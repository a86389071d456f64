package otelbackplane_test

import (
	"context"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// BenchmarkObserver measures the cost of an Observer for a broadcast, for the publisher and the receiver.
func BenchmarkObserver(b *testing.B) {
	for _, c := range []struct {
		name     string
		observer func(b *testing.B) *otelbackplane.Observer
	}{
		{"unsampled", func(b *testing.B) *otelbackplane.Observer { return benchObserver(b, sdktrace.NeverSample(), nil) }},
		{"recorded", func(b *testing.B) *otelbackplane.Observer {
			return benchObserver(b, sdktrace.AlwaysSample(), tracetest.NewInMemoryExporter())
		}},
	} {
		o := c.observer(b)
		source := &observe.Source{Node: "node", System: "redis", Prefix: "socket.io"}
		parent := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
		for name, ctx := range map[string]context.Context{"child": parent, "root": context.Background()} {
			b.Run(c.name+"/publish/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var d observe.Publish
				rooms := []string{"room"}
				for b.Loop() {
					d = observe.Publish{Source: source, Namespace: "/", Channel: broker.SocketIO.Room("/", "room"), Rooms: rooms}
					o.PublishEnd(o.PublishStart(ctx, &d), &d)
				}
			})
		}
		b.Run(c.name+"/deliver", func(b *testing.B) {
			b.ReportAllocs()
			header := map[string]string{"traceparent": "00-01000000000000000000000000000000-0200000000000000-00"}
			var d observe.Delivery
			rooms := []string{"room"}
			for b.Loop() {
				d = observe.Delivery{Source: source, Namespace: "/", Channel: broker.SocketIO.Room("/", "room"), Rooms: rooms, Matched: 1, Header: header}
				o.DeliverEnd(o.DeliverStart(context.Background(), &d), &d)
			}
		})
	}
}

func benchObserver(tb testing.TB, s sdktrace.Sampler, e sdktrace.SpanExporter) *otelbackplane.Observer {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithSampler(s)}
	if e != nil {
		opts = append(opts, sdktrace.WithSyncer(e))
	}
	tp := sdktrace.NewTracerProvider(opts...)
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	o, err := otelbackplane.New(&otelbackplane.Options{TracerProvider: tp, MeterProvider: mp})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		_ = o.Close()
		_ = tp.Shutdown(context.Background())
		_ = mp.Shutdown(context.Background())
	})
	return o
}
