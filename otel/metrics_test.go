package otelbackplane_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

func attrReason(r string) attribute.KeyValue { return attribute.String("crossroom.reason", r) }

// busy exercises every metric.
func busy(t *testing.T, v *telemetry) (nodes []*node) {
	bus := memorybroker.NewBus(nil)
	nodes = start(t, on(bus), 3, backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}}, nil)
	m := nodes[1].join(t, "m", "red", "blue")
	for range 3 {
		require.NoError(t, nodes[0].ns.Broadcast(t.Context(), make([]byte, 100), backplane.To("red")))
		m.next(t)
	}
	if err := nodes[0].ns.Broadcast(t.Context(), nil, backplane.All().Local()); err != nil { // not counted
		t.Fatal(err)
	}
	stranger := bus.Broker()
	defer stranger.Close(context.Background())
	good := appendAny(nil, []any{1, "stranger", 1, 0, nil, nil, []pair{{"traceparent", 1}}, "", []byte("x")})
	for _, p := range [][]byte{[]byte("unreadable"), good} {
		require.NoError(t, stranger.Publish(t.Context(), broker.Native.Broadcast(chat), p))
	}
	m.next(t)
	_, err := nodes[0].ns.Members(t.Context(), backplane.All())
	require.NoError(t, err)
	memorytest.Cut(nodes[0].broker.(*memorybroker.Broker), errors.New("test"))
	memorytest.Heal(nodes[0].broker.(*memorybroker.Broker))
	// A node counts a request after it has published the response.
	until(t, "served requests", func() bool { return v.sum(t, "crossroom.served.requests") == 2 }, func() string { return "" })
	until(t, "end of the interruptions", func() bool {
		for _, m := range v.collect(t) {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == "crossroom.interruption.duration" {
				return len(h.DataPoints) == 2 // of the namespace and the control channel
			}
		}
		return false
	}, func() string { return "" })
	return nodes
}

// TestMetrics checks the value of every metric.
func TestMetrics(t *testing.T) {
	v := newTelemetry(t)
	nodes := busy(t, v)
	of := func(i int) attribute.KeyValue { return attribute.String("messaging.client.id", nodes[i].ID()) }
	for _, c := range []struct {
		name string
		with []attribute.KeyValue
		want int64
	}{
		{"messaging.client.sent.messages", []attribute.KeyValue{of(0), attribute.String("messaging.operation.name", "publish"), attribute.String("messaging.system", "memory")}, 3},
		{"crossroom.deliveries", []attribute.KeyValue{of(1)}, 4},
		{"crossroom.decode.failures", nil, 3},
		{"crossroom.dropped.messages", []attribute.KeyValue{attrReason("undecodable")}, 3},
		{"crossroom.dropped.messages", []attribute.KeyValue{of(0), attrReason("echo")}, 4}, // and the query
		{"crossroom.dropped.messages", []attribute.KeyValue{of(2), attrReason("unwanted")}, 4},
		{"crossroom.served.requests", []attribute.KeyValue{attribute.String("crossroom.outcome", "served")}, 2},
		{"crossroom.query.answered", nil, 2},
		{"crossroom.query.missing", nil, 0},
		{"crossroom.interruptions", nil, 2},
		{"crossroom.header.ignored", []attribute.KeyValue{attrReason("unusable")}, 3},
		{"crossroom.members", []attribute.KeyValue{of(1), attribute.String("crossroom.namespace", chat)}, 1},
		{"crossroom.rooms", []attribute.KeyValue{of(1)}, 2},
		{"crossroom.peers", []attribute.KeyValue{of(1)}, 2},
		{"crossroom.subscriptions", []attribute.KeyValue{of(1)}, int64(nodes[1].broker.Stats().Subscriptions)},
		{"crossroom.publish.queue.messages", []attribute.KeyValue{of(1)}, 0},
		{"crossroom.lost.messages", nil, 0},
		{"crossroom.callback.failures", nil, 0},
	} {
		assert.Equal(t, c.want, v.sum(t, c.name, c.with...), "%s %v", c.name, c.with)
	}
	sent, got := v.sum(t, "crossroom.sent.bytes", of(0)), v.sum(t, "crossroom.received.bytes", of(2))
	assert.GreaterOrEqual(t, sent, int64(300))
	assert.GreaterOrEqual(t, got, sent)
	for _, m := range v.collect(t) {
		switch d := m.Data.(type) {
		case metricdata.Histogram[float64]:
			count := uint64(0)
			for _, p := range d.DataPoints {
				count += p.Count
				assert.GreaterOrEqual(t, p.Sum, 0.0, "%s: sum", m.Name)
				assert.LessOrEqual(t, p.Sum, deadline.Seconds(), "%s: sum", m.Name)
			}
			want := map[string]uint64{"messaging.process.duration": 4, "crossroom.query.duration": 1, "crossroom.interruption.duration": 2}[m.Name]
			assert.Equal(t, want, count, m.Name)
		case metricdata.Gauge[float64]:
			if len(d.DataPoints) != 6 { // the namespace and the control channel of three nodes
				t.Errorf("%s: %d points", m.Name, len(d.DataPoints))
			}
			for _, p := range d.DataPoints {
				assert.GreaterOrEqual(t, p.Value, 0.0, m.Name)
				assert.LessOrEqual(t, p.Value, deadline.Seconds(), m.Name)
			}
		}
	}

	// The counters of a closed node remain; its gauges do not.
	before := v.sum(t, "crossroom.deliveries", of(1))
	require.NoError(t, nodes[1].Close(t.Context()))
	assert.Equal(t, before, v.sum(t, "crossroom.deliveries", of(1)), "after Close")
	assert.Zero(t, v.sum(t, "crossroom.members"), "members after Close")
}

// TestMetricsTable requires that the table of the package documentation equals the instruments.
func TestMetricsTable(t *testing.T) {
	f, err := os.Open("doc.go")
	require.NoError(t, err)
	defer f.Close()
	row := regexp.MustCompile(`^//\t((?:messaging|crossroom)\.[a-z._]+) +(counter|updowncounter|histogram|gauge) +(\S+) +\S`)
	var table []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m := row.FindStringSubmatch(lines.Text()); m != nil {
			table = append(table, strings.Join(m[1:], " "))
		}
	}
	v := newTelemetry(t)
	busy(t, v)
	var real []string
	for _, m := range v.collect(t) {
		kind := "counter"
		switch d := m.Data.(type) {
		case metricdata.Histogram[float64]:
			kind = "histogram"
		case metricdata.Gauge[float64]:
			kind = "gauge"
		case metricdata.Sum[int64]:
			if !d.IsMonotonic {
				kind = "updowncounter"
			}
		}
		assert.NotEmpty(t, m.Description, "%s has no description", m.Name)
		real = append(real, m.Name+" "+kind+" "+m.Unit)
	}
	assert.ElementsMatch(t, real, table)
}

// TestRecordedAtOnce requires that the package documentation lists exactly the counters that are not read at
// collection.
func TestRecordedAtOnce(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	sentence := regexp.MustCompile(`(?s)The histograms,(.*?)are recorded when they happen`).FindSubmatch(text)
	require.NotNil(t, sentence, "doc.go has no such sentence")
	var documented, real []string
	for _, name := range regexp.MustCompile(`crossroom[a-z._]+`).FindAll(sentence[1], -1) {
		documented = append(documented, string(name))
	}
	v := newTelemetry(t)
	v.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()),
		sdkmetric.WithView(func(i sdkmetric.Instrument) (sdkmetric.Stream, bool) {
			if i.Kind == sdkmetric.InstrumentKindCounter {
				real = append(real, i.Name)
			}
			return sdkmetric.Stream{}, false
		}))
	v.observer(t, otelbackplane.Options{})
	assert.ElementsMatch(t, real, documented)
}

// With a view, exponential histograms replace the others.
func TestExponentialHistograms(t *testing.T) {
	v := newTelemetry(t)
	v.reader = sdkmetric.NewManualReader()
	v.meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(v.reader), sdkmetric.WithView(sdkmetric.NewView(
		sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})))
	nodes := start(t, inMemory(), 2, backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}}, nil)
	_, err := nodes[0].ns.AllRooms(t.Context())
	require.NoError(t, err)
	for _, m := range v.collect(t) {
		if m.Name == "crossroom.query.duration" {
			if h, ok := m.Data.(metricdata.ExponentialHistogram[float64]); !ok || len(h.DataPoints) != 1 || h.DataPoints[0].Count != 1 {
				t.Errorf("%+v", m.Data)
			}
			return
		}
	}
	t.Error("no query.duration")
}

// TestAllocations limits the allocations for spans that are not sampled.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	o := benchObserver(t, sdktrace.NeverSample(), nil)
	source := &observe.Source{Node: "node", System: "redis", Prefix: "socket.io"}
	child := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	rooms := []string{"room"}
	p, d := new(observe.Publish), new(observe.Delivery)
	for name, ctx := range map[string]context.Context{"in an unsampled trace": child, "of its own": context.Background()} {
		n := testing.AllocsPerRun(1000, func() {
			*p = observe.Publish{Source: source, Namespace: "/", Channel: broker.SocketIO.Room("/", "room"), Rooms: rooms}
			o.PublishEnd(o.PublishStart(ctx, p), p)
		})
		assert.LessOrEqual(t, n, 3.0, "publish %s: allocations", name)
	}
	header := map[string]string{"traceparent": goodParent[:53] + "00"}
	n := testing.AllocsPerRun(1000, func() {
		*d = observe.Delivery{Source: source, Namespace: "/", Channel: broker.SocketIO.Room("/", "room"), Rooms: rooms, Matched: 1, Header: header}
		o.DeliverEnd(o.DeliverStart(context.Background(), d), d)
	})
	assert.LessOrEqual(t, n, 3.0, "deliver: allocations")
}

// An Emitter is the producer of its broadcasts and of its requests to the servers.
func TestEmitter(t *testing.T) {
	for _, system := range systems {
		t.Run(system.name, func(t *testing.T) {
			v := newTelemetry(t)
			o := v.observer(t, otelbackplane.Options{})
			open := system.open(t)
			b, err := open()
			require.NoError(t, err)
			s := newSocket("s")
			server, _ := startServer(t, b, adapter.Options{Observers: []observe.Observer{o}}, s)
			eb, err := open()
			require.NoError(t, err)
			t.Cleanup(func() {
				ctx, cancel := context.WithTimeout(context.Background(), deadline)
				defer cancel()
				_ = eb.Close(ctx)
			})
			e, err := adapter.NewEmitter(eb, &adapter.EmitterOptions{Namespace: chat, Observers: []observe.Observer{o}})
			require.NoError(t, err)
			ctx, span := v.request(t)
			require.NoError(t, e.All().SocketsJoin(ctx, "red"))
			require.NoError(t, e.To("red").Emit(ctx, "hello"))
			select {
			case p := <-s.got:
				assert.NotEmpty(t, p.Header()["traceparent"], "no header")
			case <-time.After(deadline):
				t.Fatal("no message")
			}
			kinds := map[string]string{}
			parents := map[string]trace.SpanID{}
			for _, s := range v.ended(t, span.SpanContext().TraceID(), 4) {
				kinds[s.SpanKind().String()+" "+s.Name()] = attr(s, "messaging.client.id")
				parents[s.Name()] = s.Parent().SpanID()
			}
			assert.Equal(t, "emitter", kinds["producer publish /chat#{room}"])
			assert.Equal(t, server.UID(), kinds["consumer deliver /chat#{room}"])
			assert.Equal(t, "emitter", kinds["producer send join /chat"])
			assert.Equal(t, server.UID(), kinds["consumer process join /chat"])
			assert.EqualValues(t, 1, v.sum(t, "messaging.client.sent.messages", attribute.String("messaging.client.id", "emitter")), "not counted")
		})
	}
}
