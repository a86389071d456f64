package otelbackplane

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the instruments. Events that the core or the broker counts anyway are read from its counters at
// collection.
type metrics struct {
	duration  metric.Float64Histogram
	query     metric.Float64Histogram
	answered  metric.Int64Counter
	missing   metric.Int64Counter
	gaps      metric.Int64Counter
	gapLength metric.Float64Histogram
	ignored   metric.Int64Counter

	sent, sentBytes, received, deliveries, notDelivered, dropped, undecodable, receivedBytes, lost,
	served, failures metric.Int64ObservableCounter
	members, rooms, subscriptions, peers, queued, queuedBytes metric.Int64ObservableUpDownCounter
	age                                                       metric.Float64ObservableGauge
}

// maker makes instruments until one fails.
type maker struct {
	metric.Meter
	err error
}

func (m *maker) counter(name, unit, text string) metric.Int64Counter {
	i, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
	m.note(err)
	return i
}

func (m *maker) seconds(name, text string) metric.Float64Histogram {
	// The boundaries are those that the conventions recommend. A view with an exponential histogram ignores them.
	i, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text),
		metric.WithExplicitBucketBoundaries(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	m.note(err)
	return i
}

func (m *maker) total(name, unit, text string) metric.Int64ObservableCounter {
	i, err := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
	m.note(err)
	return i
}

func (m *maker) now(name, unit, text string) metric.Int64ObservableUpDownCounter {
	i, err := m.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
	m.note(err)
	return i
}

func (m *maker) note(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *metrics) make(meter metric.Meter) error {
	k := &maker{Meter: meter}
	m.sent = k.total("messaging.client.sent.messages", "{message}", "Broadcasts to publish.")
	m.sentBytes = k.total("crossroom.sent.bytes", "By", "Encoded bytes of these broadcasts.")
	m.received = k.total("messaging.client.consumed.messages", "{message}", "Messages of all kinds from the broker.")
	m.receivedBytes = k.total("crossroom.received.bytes", "By", "Bytes of messages that were read.")
	m.duration = k.seconds("messaging.process.duration", "Time from the decoding of a broadcast until the last local member got it.")
	m.deliveries = k.total("crossroom.deliveries", "{delivery}", "Calls of local members' Deliver.")
	m.notDelivered = k.total("crossroom.deliveries.skipped", "{delivery}", "Members that were skipped because they were stalled, or just removed.")
	m.dropped = k.total("crossroom.dropped.messages", "{message}", "Received messages that were dropped, by reason.")
	m.undecodable = k.total("crossroom.decode.failures", "{message}", "Unreadable messages.")
	m.lost = k.total("crossroom.lost.messages", "{message}", "Accepted messages that did not, or may not have, reached the broker's system, by reason.")
	m.served = k.total("crossroom.served.requests", "{request}", "Requests of other nodes, by outcome.")
	m.failures = k.total("crossroom.callback.failures", "{call}", "Calls of the application that panicked or did not return in time.")
	m.query = k.seconds("crossroom.query.duration", "Duration of queries to the fleet.")
	m.answered = k.counter("crossroom.query.answered", "{node}", "Nodes that responded to queries.")
	m.missing = k.counter("crossroom.query.missing", "{node}", "Nodes that did not respond to queries.")
	m.gaps = k.counter("crossroom.interruptions", "{interruption}", "Outages of subscriptions that have begun.")
	m.gapLength = k.seconds("crossroom.interruption.duration", "Duration of outages that have ended.")
	m.ignored = k.counter("crossroom.header.ignored", "{entry}", "Ignored entries of message headers, by reason.")
	m.members = k.now("crossroom.members", "{member}", "Local members.")
	m.rooms = k.now("crossroom.rooms", "{room}", "Rooms with local members, without the rooms of their own ids.")
	m.peers = k.now("crossroom.peers", "{node}", "Known peers: other Crossroom nodes.")
	m.subscriptions = k.now("crossroom.subscriptions", "{subscription}", "Filters subscribed to at the broker.")
	m.queued = k.now("crossroom.publish.queue.messages", "{message}", "Accepted messages that wait to be sent.")
	m.queuedBytes = k.now("crossroom.publish.queue.bytes", "By", "Bytes of these messages.")
	var err error
	m.age, err = meter.Float64ObservableGauge("crossroom.subscription.last_message.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the last message of a namespace's subscription."))
	k.note(err)
	return k.err
}

func (m *metrics) observables() []metric.Observable {
	return []metric.Observable{
		m.sent, m.sentBytes, m.received, m.receivedBytes, m.deliveries, m.notDelivered, m.dropped, m.undecodable, m.lost, m.served, m.failures,
		m.members, m.rooms, m.peers, m.subscriptions, m.queued, m.queuedBytes, m.age,
	}
}

// ignore counts ignored entries of a header.
func (m *metrics) ignore(ctx context.Context, why string, entries int) {
	m.ignored.Add(ctx, int64(entries), metric.WithAttributeSet(attribute.NewSet(keyReason.String(why))))
}

// Interrupted implements observe.Observer.
func (o *Observer) Interrupted(namespace string, _ error) {
	o.metrics.gaps.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(keyNamespace.String(namespace))))
}

// Resumed implements observe.Observer.
func (o *Observer) Resumed(namespace string, lasted time.Duration) {
	o.metrics.gapLength.Record(context.Background(), lasted.Seconds(), metric.WithAttributeSet(attribute.NewSet(keyNamespace.String(namespace))))
}
