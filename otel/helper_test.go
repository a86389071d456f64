package otelbackplane_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	"github.com/crossroom/crossroom/internal/servers"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

const deadline = 20 * time.Second

// systems are the brokers that the tests run on. open returns a function that makes a node's broker.
var systems = []struct {
	name string
	open func(t *testing.T) func() (broker.Broker, error)
}{
	{"memory", func(t *testing.T) func() (broker.Broker, error) {
		return inMemory()
	}},
	{"redis", func(t *testing.T) func() (broker.Broker, error) {
		redis := servers.StartRedis(t, nil)
		return func() (broker.Broker, error) { return redisbroker.Open(redis.URL(), nil) }
	}},
	{"nats", func(t *testing.T) func() (broker.Broker, error) {
		nats := servers.StartNATS(t, nil)
		return func() (broker.Broker, error) { return natsbroker.Open(nats.URL(), nil) }
	}},
}

// on makes the brokers of nodes on a bus, inMemory on one of their own.
func on(bus *memorybroker.Bus) func() (broker.Broker, error) {
	return func() (broker.Broker, error) { return bus.Broker(), nil }
}

func inMemory() func() (broker.Broker, error) { return on(memorybroker.NewBus(nil)) }

// telemetry is an SDK that keeps all spans and metrics in memory.
type telemetry struct {
	spans  *tracetest.SpanRecorder
	tracer *sdktrace.TracerProvider
	reader *sdkmetric.ManualReader
	meter  *sdkmetric.MeterProvider
}

func newTelemetry(t testing.TB, opts ...sdktrace.TracerProviderOption) *telemetry {
	v := &telemetry{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	v.tracer = sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(v.spans))...)
	v.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(v.reader), sdkmetric.WithResource(resource.Empty()))
	t.Cleanup(func() {
		_ = v.tracer.Shutdown(context.Background())
		_ = v.meter.Shutdown(context.Background())
	})
	return v
}

// observer makes an Observer on the telemetry.
func (v *telemetry) observer(t testing.TB, opts otelbackplane.Options) *otelbackplane.Observer {
	t.Helper()
	opts.TracerProvider, opts.MeterProvider = v.tracer, v.meter
	o, err := otelbackplane.New(&opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, o.Close())
	})
	return o
}

// ended waits until n spans of a trace have ended, and returns them.
func (v *telemetry) ended(t testing.TB, id trace.TraceID, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	var list []sdktrace.ReadOnlySpan
	until(t, fmt.Sprint(n, " spans"), func() bool {
		list = nil
		for _, s := range v.spans.Ended() {
			if s.SpanContext().TraceID() == id {
				list = append(list, s)
			}
		}
		return len(list) >= n
	}, func() string { return names(list) })
	require.Len(t, list, n, names(list))
	return list
}

func names(list []sdktrace.ReadOnlySpan) (text string) {
	for _, s := range list {
		text += fmt.Sprintf("\n%s %s %v", s.SpanKind(), s.Name(), s.Attributes())
	}
	return text
}

// until polls a condition that has no channel to wait on.
func until(t testing.TB, what string, ok func() bool, last func() string) {
	t.Helper()
	end := time.After(deadline)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("no %s: %s", what, last())
		}
	}
}

// sum is the value of a counter, over all of its series that have the attributes.
func (v *telemetry) sum(t testing.TB, name string, with ...attribute.KeyValue) (total int64) {
	t.Helper()
	for _, m := range v.collect(t) {
		if m.Name != name {
			continue
		}
		points, ok := m.Data.(metricdata.Sum[int64])
		require.True(t, ok, "%s is a %T", name, m.Data)
		for _, p := range points.DataPoints {
			if has(p.Attributes, with) {
				total += p.Value
			}
		}
	}
	return total
}

func has(set attribute.Set, with []attribute.KeyValue) bool {
	for _, kv := range with {
		if v, ok := set.Value(kv.Key); !ok || v.String() != kv.Value.String() {
			return false
		}
	}
	return true
}

func (v *telemetry) collect(t testing.TB) []metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, v.reader.Collect(context.Background(), &all))
	for _, s := range all.ScopeMetrics {
		if s.Scope.Name == otelbackplane.Scope {
			return s.Metrics
		}
	}
	return nil
}

// attr returns an attribute's value as text, or "-" if the span does not have it.
func attr(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	for _, kv := range s.Attributes() {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return "-"
}

// node is a node with one namespace.
type node struct {
	*backplane.Node
	broker broker.Broker
	ns     *backplane.Namespace
}

const chat = "/chat"

// start starts nodes that know each other, with an observer, and closes them when the
// test ends.
func start(t *testing.T, open func() (broker.Broker, error), n int, opts backplane.Options, nsOpts *backplane.NamespaceOptions) []*node {
	t.Helper()
	nodes := make([]*node, n)
	for i := range nodes {
		b, err := open()
		require.NoError(t, err)
		opts.Name = fmt.Sprint("n", i)
		v := &node{broker: b}
		v.Node, err = backplane.New(b, &opts)
		require.NoError(t, err)
		v.ns, err = v.Namespace(t.Context(), chat, nsOpts)
		require.NoError(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			defer cancel()
			_ = v.Close(ctx)
			_ = b.Close(ctx)
		})
		nodes[i] = v
	}
	for _, v := range nodes {
		until(t, "peers", func() bool { return acquainted(v.KnownPeers()) >= n-1 }, func() string { return fmt.Sprint(v.KnownPeers()) })
	}
	return nodes
}

// startServer starts a server with one namespace that has a socket, and closes it and its
// broker when the test ends.
func startServer(t *testing.T, b broker.Broker, opts adapter.Options, s adapter.Socket) (*adapter.Server, *adapter.Namespace) {
	t.Helper()
	server, err := adapter.New(b, &opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		_ = server.Close(ctx)
		_ = b.Close(ctx)
	})
	ns, err := server.Of(t.Context(), chat)
	require.NoError(t, err)
	require.NoError(t, ns.Add(t.Context(), s))
	return server, ns
}

// acquainted counts the peers whose lists of namespaces are known. Of the others only a sign of life was received.
func acquainted(peers []observe.Peer) (n int) {
	for _, p := range peers {
		if len(p.Namespaces) > 0 {
			n++
		}
	}
	return n
}

// member records received messages.
type member struct {
	id  string
	got chan *backplane.Message
	do  func()
}

func (m *member) ID() string      { return m.id }
func (m *member) Disconnect(bool) {}
func (m *member) Deliver(msg *backplane.Message) {
	if m.do != nil {
		m.do()
	}
	m.got <- msg
}

func (m *member) next(t testing.TB) *backplane.Message {
	t.Helper()
	select {
	case msg := <-m.got:
		return msg
	case <-time.After(deadline):
		t.Fatalf("%s received no message", m.id)
		return nil
	}
}

func (v *node) join(t *testing.T, id string, rooms ...string) *member {
	t.Helper()
	m := &member{id: id, got: make(chan *backplane.Message, 100)}
	require.NoError(t, v.ns.Add(t.Context(), m))
	require.NoError(t, v.ns.Join(t.Context(), id, rooms...))
	return m
}

// request starts the span that causes a broadcast, such as an HTTP request.
func (v *telemetry) request(t testing.TB) (context.Context, trace.Span) {
	ctx, span := v.tracer.Tracer("test").Start(context.Background(), "GET /")
	return ctx, span
}
