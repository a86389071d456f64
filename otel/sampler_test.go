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

// TestRemoteSampledFlag: a forged message with the sampled flag is recorded with the SDK's default sampler, and not with
// the sampler of the documentation or with Links.
func TestRemoteSampledFlag(t *testing.T) {
	root := sdktrace.TraceIDRatioBased(0.01)
	for name, c := range map[string]struct {
		sampler sdktrace.Sampler
		opts    otelbackplane.Options
		want    int // recorded spans
	}{
		"default": {sdktrace.ParentBased(root), otelbackplane.Options{}, 2},
		"limited": {sdktrace.ParentBased(root, sdktrace.WithRemoteParentSampled(root)), otelbackplane.Options{}, 0},
		"links":   {sdktrace.ParentBased(sdktrace.NeverSample()), otelbackplane.Options{Links: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v, open := newTelemetry(t, sdktrace.WithSampler(c.sampler)), inMemory()
			node := start(t, open, 1, backplane.Options{Observers: []observe.Observer{v.observer(t, c.opts)}}, nil)[0]
			forger := start(t, open, 1, backplane.Options{}, nil)[0]
			// The ratio does not sample this trace.
			target := backplane.All().Header(map[string]string{"traceparent": "00-ffffffffffffffffffffffffffffffff-b7ad6b7169203331-01"})
			for range 2 {
				require.NoError(t, forger.ns.Broadcast(t.Context(), []byte("x"), target))
			}
			require.NoError(t, forger.ns.Broadcast(t.Context(), []byte("last"), backplane.All()))
			until(t, "the messages", func() bool { return node.Stats().Received == 3 }, func() string { return "" })
			recorded := 0
			for _, s := range v.spans.Ended() {
				if s.SpanContext().TraceID() == (trace.TraceID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) ||
					len(s.Links()) > 0 {
					recorded++
				}
			}
			assert.Equal(t, c.want, recorded)
		})
	}
}
