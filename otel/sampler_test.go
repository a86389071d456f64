package otelbackplane_test

import (
	"context"
	"sync"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// seeing is a sampler that counts the attributes that it sees of spans with and without an unsampled parent.
type seeing struct {
	mu              sync.Mutex
	roots, children []int
}

func (*seeing) Description() string { return "seeing" }

func (s *seeing) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	if parent := trace.SpanContextFromContext(p.ParentContext); parent.IsValid() {
		s.children = append(s.children, len(p.Attributes))
	} else {
		s.roots = append(s.roots, len(p.Attributes))
	}
	return sdktrace.SamplingResult{Decision: sdktrace.Drop}
}

// TestSamplersSeeAttributes: a sampler sees the attributes of a span without a parent. It sees none of a span whose
// parent is not sampled, which nearly every sampler drops.
func TestSamplersSeeAttributes(t *testing.T) {
	s := &seeing{}
	v := newTelemetry(t, sdktrace.WithSampler(s))
	nodes := start(t, inMemory(), 1, backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}}, nil)
	s.mu.Lock()
	s.roots, s.children = nil, nil
	s.mu.Unlock()
	require.NoError(t, nodes[0].ns.Broadcast(context.Background(), []byte("x"), backplane.All()))
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	require.NoError(t, nodes[0].ns.Broadcast(trace.ContextWithSpanContext(context.Background(), parent), []byte("x"), backplane.All()))
	s.mu.Lock()
	defer s.mu.Unlock()
	if assert.NotEmpty(t, s.roots) {
		assert.Equal(t, 4, s.roots[0], "attributes of a span without a parent")
	}
	if assert.NotEmpty(t, s.children) {
		assert.Zero(t, s.children[0], "attributes of a span with an unsampled parent")
	}
}

// TestPassedOn: a broadcast whose header has a trace already, such as a message from elsewhere, continues that trace,
// unless the caller has a span.
func TestPassedOn(t *testing.T) {
	v := newTelemetry(t)
	nodes := start(t, inMemory(), 1, backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}}, nil)
	target := backplane.All().Header(map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
	require.NoError(t, nodes[0].ns.Broadcast(context.Background(), []byte("x"), target))
	id, err := trace.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
	require.NoError(t, err)
	spans := v.ended(t, id, 1)
	assert.Equal(t, "b7ad6b7169203331", spans[0].Parent().SpanID().String())

	ctx, span := v.request(t)
	require.NoError(t, nodes[0].ns.Broadcast(ctx, []byte("x"), target))
	span.End()
	spans = v.ended(t, span.SpanContext().TraceID(), 2)
	assert.Len(t, v.ended(t, id, 1), 1, names(spans))
}
