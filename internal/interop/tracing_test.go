package interop_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/interop"
	"github.com/crossroom/crossroom/internal/servers"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// tracing is an SDK that keeps spans, and the observer that makes them.
type tracing struct {
	spans    *tracetest.SpanRecorder
	tracer   trace.Tracer
	observer *otelbackplane.Observer
}

func newTracing(t *testing.T) *tracing {
	t.Helper()
	v := &tracing{spans: tracetest.NewSpanRecorder()}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(v.spans))
	v.tracer = provider.Tracer("test")
	var err error
	v.observer, err = otelbackplane.New(&otelbackplane.Options{TracerProvider: provider, MeterProvider: sdkmetric.NewMeterProvider()})
	require.NoError(t, err)
	return v
}

func (v *tracing) on(o *adapter.Options) { o.Observers = []observe.Observer{v.observer} }

// span is a context with a span and baggage in it.
func (v *tracing) span(t *testing.T) (context.Context, trace.SpanContext) {
	t.Helper()
	member, err := baggage.NewMember("tenant", "t1")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	ctx, span := v.tracer.Start(baggage.ContextWithBaggage(t.Context(), bag), "request")
	span.End()
	return ctx, span.SpanContext()
}

// ended waits for ended spans that match.
func (v *tracing) ended(t *testing.T, what string, n int, match func(sdktrace.ReadOnlySpan) bool) []sdktrace.ReadOnlySpan {
	t.Helper()
	end := time.After(deadline)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		found := slices.DeleteFunc(v.spans.Ended(), func(s sdktrace.ReadOnlySpan) bool { return !match(s) })
		if len(found) >= n {
			return found
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: %d spans, want %d", what, len(found), n)
		}
	}
}

// TestTracingIsInvisible checks that a client in a browser receives the same bytes over its
// WebSocket whether or not the Go node that emitted the event traces.
func TestTracingIsInvisible(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	for _, g := range []interop.Generation{v8, v5} {
		t.Run(string(g), func(t *testing.T) {
			v := newTracing(t)
			prefix := "invisible-" + string(g)
			js := startPeer(t, g, "js", redis.URL(), prefix)
			off := startGo(t, "off", redis.URL(), prefix, dialects[g])
			on := startGo(t, "on", redis.URL(), prefix, dialects[g], v.on)
			s := stage(t, g, "/invisible", off, js, off, on)
			c := s.connect(js, "browser", args{"frames": true}, "red")
			frames := js.Inbox(c.name + " frames")
			watcher := interop.Watch(t, redis.URL())
			ctx, _ := v.span(t)

			binary := []byte{0, 1, 2, 255}
			for i, m := range []args{
				{"event": "news", "args": []any{"hello", 1.0, nil, true, "日本語 é 🎉"}},
				{"event": "news", "args": []any{args{"a": []any{1.0, args{"b": "c"}}}}, "to": []any{"red"}},
				{"event": "news", "args": []any{"x"}, "to": []any{"red", "blue"}, "except": []any{"empty"}},
				{"event": "news", "args": []any{}, "flags": []any{"nocompress"}},
				{"event": "news", "args": []any{"v"}, "flags": []any{"volatile"}},
				{"event": "news", "args": []any{strings.Repeat("long ", 2000)}},
				{"event": "news", "args": []any{"binary", binary, args{"in": binary}}},
			} {
				var got [2][]string
				var messages [2]string
				for k, n := range []*goNode{off, on} {
					if _, err := n.Call(ctx, "emit", with(args{"nsp": s.nsp}, m)); err != nil {
						t.Fatal(err)
					}
					end := fmt.Sprintf("end-%d-%d", i, k)
					if _, err := n.Call(ctx, "emit", args{"nsp": s.nsp, "event": end, "args": []any{}}); err != nil {
						t.Fatal(err)
					}
					before, err := frames.Until(s.ctx, func(m interop.Message) bool { return strings.Contains(m.Text(), end) })
					require.NoError(t, err)
					for _, f := range before {
						if text := f.Text(); text != `["frame","2"]` && text != `["frame","3"]` { // not the heartbeat
							got[k] = append(got[k], text)
						}
					}
					published, err := watcher.Since(s.ctx)
					require.NoError(t, err)
					for _, p := range published {
						messages[k] += p.Payload
					}
				}
				if assert.NotEmpty(t, got[0], "%v: without tracing", m["args"]) {
					assert.Equal(t, got[1], got[0], "%v: without tracing", m["args"])
				}
				for _, field := range []string{"traceparent", "baggage"} {
					assert.NotContains(t, messages[0], field, "%v: on the wire: %v without, %v with tracing", m["args"], strings.Contains(messages[0], field), strings.Contains(messages[1], field))
					assert.Contains(t, messages[1], field, "%v: on the wire: %v without, %v with tracing", m["args"], strings.Contains(messages[0], field), strings.Contains(messages[1], field))
				}
			}
			// Nothing else arrived, and the client is still connected.
			_, err := c.inbox.Until(s.ctx, func(m interop.Message) bool { return strings.HasPrefix(m.Event, "end-6-1") })
			assert.NoError(t, err)
		})
	}
}

// TestTraceThroughMixedFleet checks that the trace context passes from Go node to Go node while
// Node.js servers and emitters are in the fleet, and from a Node.js emitter that sets it.
func TestTraceThroughMixedFleet(t *testing.T) {
	interop.Require(t)
	redis := servers.StartRedis(t, nil)
	v := newTracing(t)
	js, emitter := startPeer(t, v8, "js", redis.URL(), "mixed"), startPeer(t, emitterV5, "emitter", redis.URL(), "mixed")
	go1 := startGo(t, "go1", redis.URL(), "mixed", adapter.V6, v.on)
	go2 := startGo(t, "go2", redis.URL(), "mixed", adapter.V6, v.on)
	s := stage(t, v8, "/mixed", go1, go1, js, go2)
	s.populate()
	from := func(n *goNode, origin string) func(sdktrace.ReadOnlySpan) bool {
		return func(s sdktrace.ReadOnlySpan) bool {
			set := attribute.NewSet(s.Attributes()...)
			id, _ := set.Value("messaging.client.id")
			by, _ := set.Value("crossroom.origin")
			return s.SpanKind() == trace.SpanKindConsumer && id.AsString() == n.server.UID() && (origin == "" || by.AsString() == origin)
		}
	}

	// From Go to Go, with all requests answered.
	ctx, request := v.span(t)
	_, err := go1.Call(ctx, "emit", args{"nsp": s.nsp, "event": "news", "args": []any{1.0}, "to": []any{"red"}})
	require.NoError(t, err)
	s.expect(in("red"), "news", 1.0)
	for _, sp := range v.ended(t, "go1 to go2", 1, func(s sdktrace.ReadOnlySpan) bool {
		return from(go2, go1.server.UID())(s) && s.SpanContext().TraceID() == request.TraceID()
	}) {
		assert.True(t, sp.Parent().IsRemote(), "parent %v", sp.Parent())
	}
	_, err = go1.Call(ctx, "fetchSockets", args{"nsp": s.nsp})
	require.NoError(t, err)
	v.ended(t, "the question", 1, func(s sdktrace.ReadOnlySpan) bool {
		return s.Name() == "answer members "+"/mixed" && s.SpanContext().TraceID() == request.TraceID()
	})

	// A Node.js server and an emitter that set no context begin traces of their own.
	for _, c := range []struct {
		n      node
		origin string
	}{{js, s.do(js, "uid", nil).(string)}, {emitter, "emitter"}} {
		s.do(c.n, "emit", args{"event": "news", "args": []any{2.0}, "to": []any{"blue"}})
		s.do(c.n, "flush", nil)
		for _, goes := range []*goNode{go1, go2} {
			for _, sp := range v.ended(t, "from "+c.n.Name(), 1, from(goes, c.origin)) {
				assert.False(t, sp.Parent().IsValid(), "from %s: parent %v", c.n.Name(), sp.Parent())
			}
		}
		s.expect(in("blue"), "news", 2.0)
	}

	// A context in the documented field is continued on every Go node.
	const id = "0af7651916cd43dd8448eb211c80319c"
	s.do(emitter, "emit", args{
		"event": "news", "args": []any{3.0}, "to": []any{"red"},
		"header": args{"traceparent": "00-" + id + "-b7ad6b7169203331-01", "tracestate": "vendor=1", "baggage": "tenant=t1"},
	})
	s.do(emitter, "flush", nil)
	for _, sp := range v.ended(t, "continued", 2, func(s sdktrace.ReadOnlySpan) bool { return s.SpanContext().TraceID().String() == id }) {
		assert.Equal(t, "b7ad6b7169203331", sp.Parent().SpanID().String(), "parent %v, state %v", sp.Parent(), sp.SpanContext().TraceState())
		assert.Equal(t, "1", sp.SpanContext().TraceState().Get("vendor"), "parent %v, state %v", sp.Parent(), sp.SpanContext().TraceState())
	}
	s.expect(in("red"), "news", 3.0)
}
