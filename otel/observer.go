package otelbackplane

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane/observe"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the name of the instrumentation scope of all spans and metrics.
const Scope = "github.com/crossroom/crossroom/otel"

// Observer makes spans and metrics of the operations of nodes and emitters. Put it into Options.Observers or
// EmitterOptions.Observers of package backplane or adapter, once: an Observer that is listed twice makes each span twice.
// One Observer serves any number of nodes and emitters. It is safe for concurrent use.
//
// Nodes and emitters call the methods other than Close. Applications do not call them.
type Observer struct {
	observe.Nop
	opts    Options
	tracer  trace.Tracer
	carrier carrier
	metrics metrics

	publishings sync.Pool // of *publishing
	deliveries  sync.Pool // of *delivery

	sites  atomic.Pointer[map[siteKey]*site] // replaced as a whole, under mu
	mu     sync.Mutex
	nodes  map[observe.Node]struct{}
	ended  []final // the last counters of closed nodes, oldest first
	closed func() error
}

// An Observer wants no event of each dropped message, because the core counts those, and none of each change.
var _ observe.Observer = (*Observer)(nil)

// New makes an Observer. It does no I/O. It copies opts; nil means all defaults. It returns an error, and no Observer, if
// the meter cannot make an instrument or register the callback that reads the counters. Then check the MeterProvider, or
// set one of go.opentelemetry.io/otel/metric/noop to have traces alone.
func New(opts *Options) (*Observer, error) {
	o := &Observer{opts: opts.withDefaults(), nodes: map[observe.Node]struct{}{}}
	tracers, meters := o.opts.TracerProvider, o.opts.MeterProvider
	if tracers == nil {
		tracers = otel.GetTracerProvider()
	}
	if meters == nil {
		meters = otel.GetMeterProvider()
	}
	o.tracer = tracers.Tracer(Scope, trace.WithSchemaURL(schema))
	o.publishings.New = func() any { return new(publishing) }
	o.deliveries.New = func() any { return newDelivery() }
	meter := meters.Meter(Scope, metric.WithSchemaURL(schema))
	if err := o.metrics.make(meter); err != nil {
		return nil, fmt.Errorf("otelbackplane: New: making an instrument: %w", err)
	}
	reg, err := meter.RegisterCallback(o.collect, o.metrics.observables()...)
	if err != nil {
		return nil, fmt.Errorf("otelbackplane: New: registering the callback: %w", err)
	}
	o.closed = sync.OnceValue(reg.Unregister)
	o.carrier.init(&o.opts, &o.metrics)
	return o, nil
}

// Close stops the reading of counters and gauges at collection. Spans and histograms continue. Call it after the last
// export, and not from a callback of a meter. It has no context: it waits only while the SDK runs a collection, which
// reads counters in memory. Close is idempotent. Its error is that of the meter's Unregister, which is always nil with
// the OpenTelemetry SDK; it can be logged and ignored. An Observer that lives as long as its process need not be closed.
func (o *Observer) Close() error {
	if err := o.closed(); err != nil {
		return fmt.Errorf("otelbackplane: Close: %w", err)
	}
	return nil
}

// Events implements observe.Observer. It leaves out Drops and Changes, and Unwanted if Options.SkipUnwanted is set.
func (o *Observer) Events() observe.Events {
	events := observe.All &^ (observe.Drops | observe.Changes)
	if o.opts.SkipUnwanted {
		events &^= observe.Unwanted
	}
	return events
}
