package otelbackplane

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// request is a request in flight.
type request struct {
	site   *site
	span   trace.Span
	began  time.Time
	writer parentWriter
}

// RequestStart implements observe.Observer.
func (o *Observer) RequestStart(ctx context.Context, d *observe.Request) context.Context {
	a := &request{began: time.Now()}
	k := siteKey{source: d.Source, ns: d.Namespace, action: query, op: d.Op}
	if d.NoReply {
		k.action = send
	}
	a.site = o.site(k)
	ctx = o.parent(ctx, d.Header)
	ctx, a.span = o.tracer.Start(ctx, a.site.name, a.site.options(trace.SpanContextFromContext(ctx))...)
	if a.span.IsRecording() {
		list := []attribute.KeyValue{semconv.MessagingDestinationName(d.Namespace), semconv.MessagingMessageBodySize(d.PayloadBytes)}
		list = append(list, a.site.attrs...)
		if !d.NoReply {
			list = append(list, semconv.MessagingMessageConversationID(d.ID), keyExpected.Int(d.Expected+d.ExpectedForeign))
		}
		a.span.SetAttributes(o.selection(list, d.Rooms, d.All, d.Except)...)
	}
	d.Header = o.carrier.inject(ctx, d.Header, nil, &a.writer)
	d.State = a
	return ctx
}

// RequestResponse implements observe.Observer.
func (o *Observer) RequestResponse(_ context.Context, d *observe.Request, node string) {
	if a, ok := d.State.(*request); ok && a.span.IsRecording() {
		a.span.AddEvent("answer", trace.WithAttributes(keyNode.String(named(node))))
	}
}

// named returns the node's id, or a constant for a peer that does not send its id.
func named(node string) string {
	if node == "" {
		return "unannounced"
	}
	return strings.Clone(node) // node shares memory with a whole message
}

// RequestEnd implements observe.Observer.
func (o *Observer) RequestEnd(ctx context.Context, d *observe.Request) {
	a, ok := d.State.(*request)
	if !ok {
		return // RequestStart has panicked
	}
	answered, missing := d.Responded, 0
	for _, m := range d.Missing {
		missing += m.Count
	}
	if a.span.IsRecording() {
		o.recordCoverage(a.span, d, answered, missing)
	}
	a.span.End()
	if d.NoReply {
		return
	}
	outcome := "complete"
	switch {
	case d.Err != nil:
		outcome = "failed"
	case missing > 0:
		outcome = "partial"
	}
	o.metrics.query.Record(ctx, time.Since(a.began).Seconds(), a.site.measured(d.Err, keyOutcome.String(outcome))...)
	o.metrics.answered.Add(ctx, int64(answered), a.site.count...)
	o.metrics.missing.Add(ctx, int64(missing), a.site.count...)
}

// recordCoverage records on a span which nodes responded and which did not.
func (o *Observer) recordCoverage(span trace.Span, d *observe.Request, answered, missing int) {
	if !d.NoReply {
		span.SetAttributes(keyAnswered.Int(answered), keyMissing.Int(missing))
	}
	var names, texts []string
	for _, m := range d.Missing {
		name := named(m.Node)
		if m.Count > 1 {
			name = fmt.Sprintf("%s ×%d", name, m.Count)
		}
		names = append(names, name)
		text := reason(m.Reason)
		if !o.opts.HideRooms { // texts of other nodes may have names of rooms
			text = fmt.Sprint(m.Reason)
		}
		texts = append(texts, name+" ("+text+")")
		span.AddEvent("missing", trace.WithAttributes(keyNode.String(name), keyReason.String(reason(m.Reason))))
	}
	switch {
	case d.Err != nil:
		o.failed(span, d.Err)
	case missing > 0:
		span.SetAttributes(semconv.ErrorTypeKey.String("partial"))
		span.SetStatus(codes.Error, "no response from "+strings.Join(texts, ", "))
	}
	if len(names) > 0 {
		span.SetAttributes(keyMissingNames.StringSlice(names))
	}
}

// reason returns why a node is missing, in one word.
func reason(err error) string {
	switch {
	case errors.Is(err, backplane.ErrPeerLost):
		return "gone"
	case errors.Is(err, backplane.ErrPeerUnresponsive):
		return "silent"
	case errors.Is(err, backplane.ErrNoResponse):
		return "timeout"
	case errors.Is(err, backplane.ErrBusy):
		return "busy"
	}
	return "refused"
}
