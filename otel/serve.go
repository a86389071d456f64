package otelbackplane

import (
	"context"

	"github.com/crossroom/crossroom/backplane/observe"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// ServeStart implements observe.Observer.
func (o *Observer) ServeStart(ctx context.Context, d *observe.Serve) context.Context {
	k := siteKey{source: d.Source, ns: d.Namespace, action: answer, op: d.Op}
	if d.NoReply {
		k.action = process
	}
	s := o.site(k)
	ignored := o.unusable(ctx, d.HeaderDropped)
	ctx, bad := o.carrier.extract(ctx, d.Header)
	ignored += bad
	var span trace.Span
	if d.NoReply {
		ctx, span = o.consume(ctx, s)
	} else {
		// The requester waits for the response, so this span is a child of the request's span whatever Options.Links
		// is.
		ctx, span = o.tracer.Start(ctx, s.name, s.options(trace.SpanContextFromContext(ctx))...)
	}
	if span.IsRecording() {
		list := []attribute.KeyValue{
			semconv.MessagingDestinationName(d.Namespace), semconv.MessagingMessageBodySize(d.PayloadBytes), keyOrigin.String(d.Origin),
		}
		list = append(list, s.attrs...)
		if d.ID != "" {
			list = append(list, semconv.MessagingMessageConversationID(d.ID))
		}
		if ignored > 0 {
			list = append(list, keyHeaderIgnored.Int(ignored))
		}
		span.SetAttributes(list...)
	}
	d.State = span
	return ctx
}

// ServeEnd implements observe.Observer.
func (o *Observer) ServeEnd(_ context.Context, d *observe.Serve) {
	span, ok := d.State.(trace.Span)
	if !ok {
		return // ServeStart has panicked
	}
	if d.Err != nil && span.IsRecording() {
		o.failed(span, d.Err)
	}
	span.End()
}
