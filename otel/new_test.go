package otelbackplane_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/crossroom/crossroom/backplane/observe"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// badProvider has one meter.
type badProvider struct {
	noop.MeterProvider
	meter metric.Meter
}

func (p badProvider) Meter(string, ...metric.MeterOption) metric.Meter { return p.meter }

// failing is a meter that fails for counters with these names, or with callbacks.
type failing struct {
	noop.Meter
	bad        map[string]error
	register   error
	unregister error
}

func (m failing) Int64ObservableCounter(name string, _ ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return noop.Int64ObservableCounter{}, m.bad[name]
}

func (m failing) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return registration{err: m.unregister}, m.register
}

type registration struct {
	noop.Registration
	err error
}

func (r registration) Unregister() error { return r.err }

// TestNewFails: New and Close return the errors of the meter, New the first one.
func TestNewFails(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	_, err := otelbackplane.New(&otelbackplane.Options{MeterProvider: badProvider{meter: failing{bad: map[string]error{
		"messaging.client.sent.messages": first, "crossroom.dropped.messages": second,
	}}}})
	assert.ErrorIs(t, err, first)
	assert.NotErrorIs(t, err, second)
	_, err = otelbackplane.New(&otelbackplane.Options{MeterProvider: badProvider{meter: failing{bad: map[string]error{"crossroom.dropped.messages": second}}}})
	assert.ErrorIs(t, err, second)
	_, err = otelbackplane.New(&otelbackplane.Options{MeterProvider: badProvider{meter: failing{register: first}}})
	assert.ErrorIs(t, err, first)
	o, err := otelbackplane.New(&otelbackplane.Options{MeterProvider: badProvider{meter: failing{unregister: first}}})
	if assert.NoError(t, err) {
		assert.ErrorIs(t, o.Close(), first)
		assert.ErrorIs(t, o.Close(), first, "again")
	}
}

// TestEvents: an Observer wants only what it uses, because each event has a cost, and observe.Unwanted keeps namespaces
// static.
func TestEvents(t *testing.T) {
	used := observe.Nodes | observe.Publishes | observe.Deliveries | observe.Requests | observe.Serves | observe.Outages
	v := newTelemetry(t)
	assert.Equal(t, used|observe.Unwanted, v.observer(t, otelbackplane.Options{}).Events())
	assert.Equal(t, used, v.observer(t, otelbackplane.Options{SkipUnwanted: true}).Events())
}
