package main

import (
	"context"
	"errors"
	"runtime"
	"syscall"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/crossroom/crossroom/adapter"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// otelTable is what observing costs.
var otelTable = []measurement{
	{
		name: "tracing",
		what: "processor time that tracing and metrics with OpenTelemetry's SDK add to one broadcast, and whole allocations as go test counts them",
		contenders: []contender{
			{"emit, unsampled request", added(emits, unsampled, inRequest)},
			{"emit, unsampled by itself", added(emits, unsampled, alone)},
			{"receive, unsampled", added(receives, unsampled, inRequest)},
			{"emit, recorded in memory", added(emits, recorded, inRequest)},
			{"receive, recorded in memory", added(receives, recorded, inRequest)},
		},
		bars: []bar{
			atMost(1000, "tracing, unsampled: ns more to emit in a request", value("emit, unsampled request", "ns more")),
			atMost(1000, "tracing, unsampled: ns more to emit by itself", value("emit, unsampled by itself", "ns more")),
			atMost(1000, "tracing, unsampled: ns more to receive", value("receive, unsampled", "ns more")),
			atMost(3, "tracing, unsampled: allocations more to emit in a request", value("emit, unsampled request", "allocations more")),
			atMost(3, "tracing, unsampled: allocations more to emit by itself", value("emit, unsampled by itself", "allocations more")),
			atMost(3, "tracing, unsampled: allocations more to receive", value("receive, unsampled", "allocations more")),
		},
	},
}

// sampling is an SDK with a sampler.
type sampling func() (*sdktrace.TracerProvider, error)

func unsampled() (*sdktrace.TracerProvider, error) {
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0)))), nil
}

func recorded() (*sdktrace.TracerProvider, error) {
	return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSyncer(forgetting{tracetest.NewInMemoryExporter()})), nil
}

// forgetting is an in-memory exporter that does not grow for ever.
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

// work is what is measured: n operations.
type work func(ctx context.Context, n int) error

// added measures what an observer adds: the same work with and without, in turns.
func added(setup func(ctx context.Context, observer any) (work, func() error, error), s sampling, in func(context.Context) context.Context) func(context.Context, *env) (figures, error) {
	return func(ctx context.Context, e *env) (f figures, err error) {
		tracers, err := s()
		if err != nil {
			return nil, err
		}
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		defer func() { err = errors.Join(err, tracers.Shutdown(ctx), meters.Shutdown(ctx)) }()
		observer, err := otelbackplane.New(&otelbackplane.Options{TracerProvider: tracers, MeterProvider: meters})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, observer.Close()) }()
		var works [2]work
		for i, o := range []any{nil, observer} {
			w, stop, err := setup(ctx, o)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, stop()) }()
			works[i] = w
		}
		ctx = in(ctx)
		const operations = 20_000
		var ns, allocs [2][]float64
		var more []float64
		for deadline := time.Now().Add(e.length); time.Now().Before(deadline) || len(more) < 5; {
			for i, w := range works {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := ownCPU()
				if err := w(ctx, operations); err != nil {
					return nil, err
				}
				ns[i] = append(ns[i], float64((ownCPU()-began).Nanoseconds())/operations)
				runtime.ReadMemStats(&after)
				allocs[i] = append(allocs[i], float64(after.Mallocs-before.Mallocs)/operations)
			}
			last := len(ns[0]) - 1
			more = append(more, ns[1][last]-ns[0][last])
		}
		return figures{
			{"ns more", median(more)}, {"ns without", median(ns[0])},
			{"allocations more", float64(int(max(0, median(allocs[1])-median(allocs[0])) + 0.005))},
		}, nil
	}
}

// ownCPU is the processor time that this process has used: unlike time, it goes on for
// nobody else's work.
func ownCPU() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// emits publishes to a broker that forgets what it gets.
func emits(ctx context.Context, observer any) (work, func() error, error) {
	b := &loop{}
	server, ns, err := looped(ctx, b, observer)
	if err != nil {
		return nil, nil, err
	}
	to := ns.To(room)
	return func(ctx context.Context, n int) error {
		for range n {
			if err := to.Emit(ctx, "event", event); err != nil {
				return err
			}
		}
		return nil
	}, func() error { return server.Close(context.WithoutCancel(ctx)) }, nil
}

// receives takes in what a node that traces has published, for one socket.
func receives(ctx context.Context, observer any) (work, func() error, error) {
	tracers, err := unsampled()
	if err != nil {
		return nil, nil, err
	}
	tracing, err := otelbackplane.New(&otelbackplane.Options{TracerProvider: tracers, MeterProvider: sdkmetric.NewMeterProvider()})
	if err != nil {
		return nil, nil, err
	}
	sent := &loop{keep: true}
	sender, ns, err := looped(ctx, sent, tracing)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(ns.To(room).Emit(inRequest(ctx), "event", event), sender.Close(ctx), tracing.Close()); err != nil {
		return nil, nil, err
	}
	b := &loop{}
	server, ns, err := looped(ctx, b, observer)
	if err != nil {
		return nil, nil, err
	}
	left, done := 0, make(chan struct{})
	if err := join(ctx, ns, &sink{"sink", func() {
		if left--; left == 0 {
			done <- struct{}{}
		}
	}}, room); err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, n int) error {
		left = n // nothing is under way
		for range n {
			b.receiver.Deliver(sent.channel, sent.payload)
		}
		<-done
		return nil
	}, func() error { return server.Close(context.WithoutCancel(ctx)) }, nil
}

func looped(ctx context.Context, b *loop, observer any) (*adapter.Server, *adapter.Namespace, error) {
	server, err := adapter.New(b, &adapter.Options{Observer: observer})
	if err != nil {
		return nil, nil, err
	}
	ns, err := server.Of(ctx, "/")
	return server, ns, err
}
