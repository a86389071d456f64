package otelbackplane

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// delivery is a broadcast being received. It is reused together with the context in which its span starts, unless the
// span is recorded.
type delivery struct {
	site   *site
	span   trace.Span
	began  time.Time
	remote remoteSpan
	parent context.Context // has remote as its span
}

func newDelivery() *delivery {
	d := new(delivery)
	d.parent = trace.ContextWithSpan(context.Background(), &d.remote)
	return d
}

// remoteSpan is the publisher's span as the consumer sees it.
type remoteSpan struct {
	noop.Span
	sc trace.SpanContext
}

func (s *remoteSpan) SpanContext() trace.SpanContext { return s.sc }

// DeliverStart implements observe.Observer.
func (o *Observer) DeliverStart(ctx context.Context, d *observe.Delivery) context.Context {
	v := o.deliveries.Get().(*delivery)
	v.site = o.site(siteKey{source: d.Source, ns: d.Namespace, action: deliver, room: d.Channel.Kind() == broker.KindRoom})
	ignored := o.unusable(ctx, d.HeaderDropped)
	if sc, ok := o.carrier.parent(d.Header); ok && !o.opts.Links {
		v.remote.sc, ctx = sc, v.parent
	} else {
		var bad int
		ctx, bad = o.carrier.extract(ctx, d.Header)
		ignored += bad
	}
	if o.metrics.duration.Enabled(ctx) {
		v.began = time.Now()
	}
	ctx, v.span = o.consume(ctx, v.site)
	if v.span.IsRecording() {
		o.describe(v.span, v.site, d.Channel, d.Rooms, d.All, d.Except, d.PayloadBytes)
		list := []attribute.KeyValue{
			semconv.MessagingMessageEnvelopeSize(d.MessageBytes), keyOrigin.String(d.Origin), keyMatched.Int(d.Matched),
		}
		if ignored > 0 {
			list = append(list, keyHeaderIgnored.Int(ignored))
		}
		v.span.SetAttributes(list...)
	}
	d.State = v
	return ctx
}

// consume starts the span of a received message whose header was extracted into ctx.
func (o *Observer) consume(ctx context.Context, s *site) (context.Context, trace.Span) {
	from := trace.SpanContextFromContext(ctx)
	options := s.options(from)
	if o.opts.Links && from.IsValid() {
		options = append(options[:len(options):len(options)], trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: from}))
	}
	return o.tracer.Start(ctx, s.name, options...)
}

// DeliverEnd implements observe.Observer.
func (o *Observer) DeliverEnd(ctx context.Context, d *observe.Delivery) {
	v, ok := d.State.(*delivery)
	if !ok {
		return // DeliverStart has panicked
	}
	recorded := v.span.IsRecording()
	if recorded {
		outcome := "delivered"
		if d.Matched == 0 {
			outcome = "unwanted"
		}
		v.span.SetAttributes(keyOutcome.String(outcome), keyDelivered.Int(d.Delivered), keySkipped.Int(d.Skipped), keyPanicked.Int(d.Panicked))
		if d.Panicked > 0 {
			v.span.SetAttributes(semconv.ErrorTypeKey.String("panic"))
			v.span.SetStatus(codes.Error, "panics of members: "+strconv.Itoa(d.Panicked))
		}
	}
	v.span.End()
	if d.Matched > 0 && !v.began.IsZero() {
		var failed []attribute.KeyValue
		if d.Panicked > 0 {
			failed = []attribute.KeyValue{semconv.ErrorTypeKey.String("panic")}
		}
		o.metrics.duration.Record(ctx, time.Since(v.began).Seconds(), v.site.measured(nil, failed...)...)
	}
	// A recorded span may be kept together with its parent. A tracer that makes no span may have returned the parent
	// itself.
	if recorded || v.span == trace.Span(&v.remote) {
		return
	}
	v.site, v.span, v.began, d.State = nil, nil, time.Time{}, nil
	o.deliveries.Put(v)
}

// unusable counts the entries of a header that the core dropped.
func (o *Observer) unusable(ctx context.Context, entries int) int {
	if entries > 0 {
		o.metrics.ignore(ctx, unusable, entries)
	}
	return entries
}
