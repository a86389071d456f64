package main

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/crossroom/crossroom/backplane/observe"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// sampling is an SDK with a sampler.
type sampling func() *sdktrace.TracerProvider

func unsampled() *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0))))
}

func recorded() *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSyncer(forgetting{tracetest.NewInMemoryExporter()}))
}

// forgetting is an in-memory exporter that discards its spans at times.
type forgetting struct{ *tracetest.InMemoryExporter }

func (f forgetting) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := f.InMemoryExporter.ExportSpans(ctx, spans)
	f.Reset()
	return err
}

// inRequest is the context of a request whose trace is not sampled.
func inRequest(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
}

func alone(ctx context.Context) context.Context { return ctx }

// tracers opens an SDK.
func (s *stage) tracers(ctx context.Context, sampled sampling) *sdktrace.TracerProvider {
	t := sampled()
	s.later(func() error { return t.Shutdown(context.WithoutCancel(ctx)) })
	return t
}

// observer returns a node's observer, with metrics.
func (s *stage) observer(ctx context.Context, sampled sampling) (observe.Observer, error) {
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	s.later(func() error { return meters.Shutdown(context.WithoutCancel(ctx)) })
	o, err := otelbackplane.New(&otelbackplane.Options{TracerProvider: s.tracers(ctx, sampled), MeterProvider: meters})
	if err != nil {
		return nil, err
	}
	s.later(o.Close)
	return o, nil
}

// untraced returns no observer.
func untraced(context.Context, *stage) (observe.Observer, error) { return nil, nil }

// traced returns an observer.
func traced(sampled sampling) func(context.Context, *stage) (observe.Observer, error) {
	return func(ctx context.Context, s *stage) (observe.Observer, error) { return s.observer(ctx, sampled) }
}

// spans is the number of spans between two readings of the clock.
const spans = 1024

// emitting publishes to a broker that discards messages.
func emitting(observer func(context.Context, *stage) (observe.Observer, error), in func(context.Context) context.Context) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		o, err := observer(ctx, s)
		if err != nil {
			return nil, err
		}
		n, err := newLoopNode(ctx, s, o)
		if err != nil {
			return nil, err
		}
		to := n.ns.To(room)
		return func(ctx context.Context) (int64, figures, error) {
			ctx = in(ctx)
			return s.repeat(spans, func(n int) error {
				for range n {
					if err := to.Emit(ctx, "event", event); err != nil {
						return err
					}
				}
				return nil
			})
		}, nil
	}
}

// receiving delivers, to one socket, messages that a tracing node has published.
func receiving(observer func(context.Context, *stage) (observe.Observer, error)) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		tracing, err := s.observer(ctx, unsampled)
		if err != nil {
			return nil, err
		}
		sent, err := capture(inRequest(ctx), s, tracing, room)
		if err != nil {
			return nil, err
		}
		o, err := observer(ctx, s)
		if err != nil {
			return nil, err
		}
		m, err := newMarked(ctx, s, o)
		if err != nil {
			return nil, err
		}
		if err := join(ctx, m.ns, &sink{"sink", func() {}}, room); err != nil {
			return nil, err
		}
		return m.receives(s, sent), nil
	}
}

// propagator is Crossroom's default.
var propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// spanSent is the minimum for tracing a sent message: a span, and a header.
func spanSent(sampled sampling, in func(context.Context) context.Context) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		tracer := s.tracers(ctx, sampled).Tracer("bench")
		return func(ctx context.Context) (int64, figures, error) {
			ctx = in(ctx)
			return s.repeat(spans, func(n int) error {
				for range n {
					ctx, span := tracer.Start(ctx, "send", trace.WithSpanKind(trace.SpanKindProducer))
					propagator.Inject(ctx, propagation.MapCarrier{})
					span.End()
				}
				return nil
			})
		}, nil
	}
}

// spanReceived is the same for a received message.
func spanReceived(sampled sampling) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		tracer := s.tracers(ctx, sampled).Tracer("bench")
		header := propagation.MapCarrier{}
		propagator.Inject(inRequest(ctx), header)
		return func(ctx context.Context) (int64, figures, error) {
			return s.repeat(spans, func(n int) error {
				for range n {
					_, span := tracer.Start(propagator.Extract(ctx, header), "process", trace.WithSpanKind(trace.SpanKindConsumer))
					span.End()
				}
				return nil
			})
		}, nil
	}
}
