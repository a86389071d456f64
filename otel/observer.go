package otelbackplane

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/backplane/observe"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the name of the instrumentation scope of all spans and metrics.
const Scope = "github.com/crossroom/crossroom/otel"

// Observer makes spans and metrics of what nodes and emitters do: set it as
// backplane.Options.Observers, adapter.Options.Observers or
// adapter.EmitterOptions.Observers. One Observer serves any number of them. It is safe
// for concurrent use.
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
	ended  []final // the last counters of nodes that have closed, oldest first
	closed func() error
}

// An Observer sees everything but the single dropped message: the core counts those.
var _ observe.Observer = (*Observer)(nil)

// New makes an Observer. The error is the meter's, about an instrument that it cannot
// make.
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
		return nil, err
	}
	reg, err := meter.RegisterCallback(o.collect, o.metrics.observables()...)
	if err != nil {
		return nil, err
	}
	o.closed = sync.OnceValue(reg.Unregister)
	o.carrier.init(&o.opts, &o.metrics)
	return o, nil
}

// Close ends the reading of counters and gauges for metrics; what is observed still has
// spans. Close it after the last export. It is idempotent. An Observer that lives as
// long as its process need not be closed.
func (o *Observer) Close() error {
	if err := o.closed(); err != nil {
		return errors.Join(errors.New("otelbackplane: close"), err)
	}
	return nil
}

// Events implements observe.Observer.
func (o *Observer) Events() observe.Events {
	events := observe.All &^ observe.Drops
	if o.opts.SkipUnwanted {
		events &^= observe.Unwanted
	}
	return events
}
