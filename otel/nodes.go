package otelbackplane

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// final is the last value of a closed node's counters. Without it the counts since the last export would be lost with
// the node.
type final struct {
	source *observe.Source
	node   observe.Stats
	broker broker.Stats
}

// maxFinals limits the closed nodes whose counters are kept. In a process that makes and closes nodes all the time,
// the oldest are dropped.
const maxFinals = 64

// NodeStart implements observe.Observer.
func (o *Observer) NodeStart(n observe.Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nodes[n] = struct{}{}
}

// NodeEnd implements observe.Observer.
func (o *Observer) NodeEnd(n observe.Node) {
	s := n.Snapshot()
	f := final{source: n.Source(), node: s.Stats, broker: s.Broker}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.nodes, n)
	if o.ended = append(o.ended, f); len(o.ended) > maxFinals {
		o.forget(o.ended[0].source)
		o.ended = slices.Delete(o.ended, 0, 1)
	}
}

// collect is the meter's callback.
func (o *Observer) collect(_ context.Context, to metric.Observer) error {
	o.mu.Lock()
	ended := slices.Clone(o.ended)
	nodes := make([]observe.Node, 0, len(o.nodes))
	for n := range o.nodes {
		nodes = append(nodes, n)
	}
	o.mu.Unlock()
	if all := o.sites.Load(); all != nil {
		for _, s := range *all {
			s.sums(func(t *tally, attrs attribute.Set) {
				opt := metric.WithAttributeSet(attrs)
				to.ObserveInt64(o.metrics.sent, t.messages.Load(), opt)
				to.ObserveInt64(o.metrics.sentBytes, t.bytes.Load(), opt)
			})
		}
	}
	for _, f := range ended {
		o.metrics.counters(to, f)
	}
	for _, n := range nodes {
		s := n.Snapshot()
		o.metrics.counters(to, final{n.Source(), s.Stats, s.Broker})
		o.metrics.gauges(to, n.Source(), &s)
	}
	return nil
}

// of returns the attributes of all measurements about a node.
func of(s *observe.Source, more ...attribute.KeyValue) metric.MeasurementOption {
	list := append(more, semconv.MessagingSystemKey.String(s.System), semconv.MessagingClientID(s.Node))
	if s.Prefix != "" {
		list = append(list, keyPrefix.String(s.Prefix))
	}
	return metric.WithAttributeSet(attribute.NewSet(list...))
}

func (m *metrics) counters(to metric.Observer, f final) {
	all, st := of(f.source), &f.node
	total := func(i metric.Int64ObservableCounter, v uint64, opt metric.MeasurementOption) {
		to.ObserveInt64(i, int64(v), opt)
	}
	total(m.received, st.Received, of(f.source, semconv.MessagingOperationName("receive")))
	total(m.receivedBytes, st.ReceivedBytes, all)
	total(m.deliveries, st.Deliveries, all)
	total(m.notDelivered, st.Skipped, all)
	for _, d := range []struct {
		reason observe.DropReason
		count  uint64
	}{
		{observe.DropUnwanted, st.Unwanted},
		{observe.DropEcho, st.Echoes},
		{observe.DropForeign, st.Foreign},
		{observe.DropUndecodable, st.Undecodable},
		{observe.DropStray, st.StrayResponses},
		{observe.DropUnverified, st.Unverified},
		{observe.DropRefused, st.RefusedBroadcasts},
	} {
		total(m.dropped, d.count, of(f.source, keyReason.String(d.reason.String())))
	}
	total(m.undecodable, st.Undecodable, all)
	total(m.lost, f.broker.Lost, of(f.source, keyReason.String("lost")))
	total(m.lost, f.broker.Uncertain, of(f.source, keyReason.String("uncertain")))
	total(m.served, st.Served, of(f.source, keyOutcome.String("served")))
	total(m.served, st.Refused, of(f.source, keyOutcome.String("refused")))
	total(m.failures, st.Panics, of(f.source, keyReason.String("panic")))
	total(m.failures, st.Stalls, of(f.source, keyReason.String("stall")))
}

func (m *metrics) gauges(to metric.Observer, source *observe.Source, s *observe.Snapshot) {
	all := of(source)
	to.ObserveInt64(m.peers, int64(s.Peers), all)
	to.ObserveInt64(m.subscriptions, int64(s.Broker.Subscriptions), all)
	to.ObserveInt64(m.queued, int64(s.Broker.QueuedMessages), all)
	to.ObserveInt64(m.queuedBytes, int64(s.Broker.QueuedBytes), all)
	if !s.LastMessage.IsZero() {
		to.ObserveFloat64(m.age, max(0, time.Since(s.LastMessage).Seconds()), of(source, keyNamespace.String(""), keyProtocol.String("control")))
	}
	for _, ns := range s.Namespaces {
		opt := of(source, keyNamespace.String(ns.Name), keyProtocol.String(ns.Protocol))
		if !ns.LastMessage.IsZero() {
			to.ObserveFloat64(m.age, max(0, time.Since(ns.LastMessage).Seconds()), opt)
		}
		if !ns.Shared {
			to.ObserveInt64(m.members, int64(ns.Members), opt)
			to.ObserveInt64(m.rooms, int64(ns.Rooms), opt)
		}
	}
}
