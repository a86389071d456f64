package otelbackplane

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// publishing is a broadcast being sent. It is reused.
type publishing struct {
	site   *site
	span   trace.Span
	header map[string]string
	writer parentWriter
}

// PublishStart implements observe.Observer.
func (o *Observer) PublishStart(ctx context.Context, d *observe.Publish) context.Context {
	p := o.publishings.Get().(*publishing)
	p.site = o.site(siteKey{source: d.Source, ns: d.Namespace, action: publish, room: d.Channel.Kind() == broker.KindRoom})
	ctx = o.parent(ctx, d.Header)
	ctx, p.span = o.tracer.Start(ctx, p.site.name, p.site.options(trace.SpanContextFromContext(ctx))...)
	if p.span.IsRecording() {
		o.describe(p.span, p.site, d.Channel, d.Rooms, d.All, d.Except, d.PayloadBytes)
	}
	d.Header = o.carrier.inject(ctx, d.Header, p.header, &p.writer)
	d.State = p
	return ctx
}

// PublishEnd implements observe.Observer.
func (o *Observer) PublishEnd(_ context.Context, d *observe.Publish) {
	p, ok := d.State.(*publishing)
	if !ok {
		return // PublishStart has panicked
	}
	s := p.site
	if p.span.IsRecording() {
		p.span.SetAttributes(semconv.MessagingMessageEnvelopeSize(d.MessageBytes), keyDelivered.Int(d.Delivered))
		if d.Err != nil {
			o.failed(p.span, d.Err)
		}
	}
	p.span.End()
	if !d.LocalOnly {
		s.add(d.MessageBytes, d.Err)
	}
	// The core has copied the parts of the header that it keeps.
	if d.Header != nil {
		p.header = d.Header
	}
	p.site, p.span, d.State = nil, nil, nil
	o.publishings.Put(p)
}

// parent returns the context in which a span starts. This is the caller's context. If that has no span, parent
// extracts the header, which a message passed on from elsewhere may already have.
func (o *Observer) parent(ctx context.Context, h map[string]string) context.Context {
	if len(h) > 0 && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx, _ = o.carrier.extract(ctx, h)
	}
	return ctx
}

// describe sets the attributes of a broadcast on a span.
func (o *Observer) describe(span trace.Span, s *site, ch broker.Channel, rooms, all, except []string, size int) {
	list := append(make([]attribute.KeyValue, 0, 16), s.attrs...)
	if ch.Kind() != broker.KindRoom {
		list = append(list, semconv.MessagingDestinationName(ch.Namespace()))
	} else if !o.opts.HideRooms {
		list = append(list, semconv.MessagingDestinationName(ch.Namespace()+"#"+ch.Name()))
	}
	list = append(list, semconv.MessagingMessageBodySize(size))
	span.SetAttributes(o.selection(list, rooms, all, except)...)
}
