package otelbackplane_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/internal/msgpack"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

const goodParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// pair is one entry of a map.
type pair struct{ key, value any }

// appendAny encodes values that no encoder of Crossroom writes.
func appendAny(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return msgpack.AppendNil(dst)
	case string:
		return msgpack.AppendString(dst, v)
	case []byte:
		return msgpack.AppendBytes(dst, v)
	case int:
		return msgpack.AppendInt(dst, int64(v))
	case []any:
		dst = msgpack.AppendArrayLen(dst, len(v))
		for _, e := range v {
			dst = appendAny(dst, e)
		}
		return dst
	case []pair:
		dst = msgpack.AppendMapLen(dst, len(v))
		for _, e := range v {
			dst = appendAny(appendAny(dst, e.key), e.value)
		}
		return dst
	}
	panic(fmt.Sprintf("%T", v))
}

// hostile lists headers from a faulty or malicious sender. The message arrives with each of them.
var hostile = []struct {
	name   string
	header any // for the native wire; pairs for both
	reason string
	trace  bool // the trace is continued all the same
}{
	{"64 KiB", []pair{{"traceparent", strings.Repeat("0", 64<<10)}}, "unusable", false},
	{"64 KiB of baggage", []pair{{"traceparent", goodParent}, {"baggage", "k=" + strings.Repeat("v", 64<<10)}}, "unusable", true},
	{"5 KiB of tracestate", []pair{{"traceparent", goodParent}, {"tracestate", "k=" + strings.Repeat("v", 5<<10)}}, "oversized", true},
	{"5 KiB of baggage", []pair{{"traceparent", goodParent}, {"baggage", "k=" + strings.Repeat("v", 5<<10)}}, "oversized", true},
	{"5 KiB of traceparent", []pair{{"traceparent", strings.Repeat("0", 5<<10)}}, "oversized", false},
	{"control characters", []pair{{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169\x003331-01"}}, "malformed", false},
	{"line break", []pair{{"traceparent", goodParent + "\r\nx: y"}}, "malformed", false},
	{"upper case", []pair{{"traceparent", strings.ToUpper(goodParent)}}, "malformed", false},
	{"all zero", []pair{{"traceparent", "00-00000000000000000000000000000000-0000000000000000-00"}}, "malformed", false},
	{"version ff", []pair{{"traceparent", "ff" + goodParent[2:]}}, "malformed", false},
	{"version 00 and more", []pair{{"traceparent", goodParent + "-x"}}, "malformed", false},
	{"version 01 and more", []pair{{"traceparent", "01" + goodParent[2:] + "-x"}}, "", true},
	{"reserved flags", []pair{{"traceparent", goodParent[:53] + "ff"}}, "malformed", false},
	{"bad tracestate", []pair{{"traceparent", goodParent}, {"tracestate", "\x01\x02"}}, "malformed", true},
	{"bad baggage", []pair{{"traceparent", goodParent}, {"baggage", "\x01;;;=\x02"}}, "malformed", true},
	{"twice", []pair{{"traceparent", goodParent}, {"traceparent", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}, "unusable", true},
	{"number", []pair{{"traceparent", 17}}, "unusable", false},
	{"nil", []pair{{"traceparent", nil}}, "unusable", false},
	{"bytes", []pair{{"traceparent", []byte(goodParent)}}, "unusable", false},
	{"array", []pair{{"traceparent", []any{goodParent}}}, "unusable", false},
	{"map", []pair{{"traceparent", []pair{{"a", goodParent}}}}, "unusable", false},
	{"beside a good one", []pair{{"tracestate", 1}, {"traceparent", goodParent}}, "unusable", true},
	{"no map", "no map", "unusable", false},
}

func TestHostileHeaders(t *testing.T) {
	ok, _ := trace.TraceIDFromHex(goodParent[3:35])
	check := func(t *testing.T, v *telemetry, reason string, continued bool, deliver func()) {
		t.Helper()
		before := v.sum(t, "crossroom.header.ignored")
		seen := len(v.spans.Ended())
		deliver()
		var s sdktrace.ReadOnlySpan
		until(t, "span", func() bool {
			list := v.spans.Ended()
			if len(list) > seen {
				s = list[seen]
			}
			return s != nil
		}, func() string { return "" })
		assert.Equal(t, continued, s.SpanContext().TraceID() == ok)
		if !continued && s.Parent().IsValid() {
			t.Errorf("parent %v", s.Parent())
		}
		counted := v.sum(t, "crossroom.header.ignored") - before
		assert.Equal(t, reason != "", counted > 0, "counted %d for %q", counted, reason)
		if reason != "" {
			assert.NotZero(t, v.sum(t, "crossroom.header.ignored", attrReason(reason)), "not counted as %s", reason)
			assert.NotEqual(t, "-", attr(s, "crossroom.header.ignored"), "the span lacks crossroom.header.ignored")
		}
	}
	for _, h := range hostile {
		t.Run("native/"+h.name, func(t *testing.T) {
			v := newTelemetry(t)
			bus := memorybroker.NewBus(nil)
			n := start(t, on(bus), 1, backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}}, nil)[0]
			m := n.join(t, "m")
			stranger := bus.Broker()
			defer stranger.Close(context.Background())
			check(t, v, h.reason, h.trace, func() {
				frame := appendAny(nil, []any{1, "stranger", 1, 0, nil, nil, h.header, "", []byte("hello")})
				require.NoError(t, stranger.Publish(t.Context(), broker.Native.Broadcast(chat), frame))
				assert.Equal(t, "hello", string(m.next(t).Payload))
			})
			st := n.Stats()
			assert.Zero(t, st.Undecodable)
			assert.Zero(t, st.Panics)
		})
		pairs, both := h.header.([]pair)
		if !both {
			continue // only on the native wire may the header itself have another type
		}
		t.Run("socket.io/"+h.name, func(t *testing.T) {
			v := newTelemetry(t)
			bus := memorybroker.NewBus(nil)
			s := newSocket("s")
			startServer(t, bus.Broker(), adapter.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}}, s)
			stranger := bus.Broker()
			defer stranger.Close(context.Background())
			check(t, v, h.reason, h.trace, func() {
				opts := append([]pair{{"rooms", []any{}}, {"except", []any{}}, {"flags", []pair{}}}, pairs...)
				frame := appendAny(nil, []any{"stranger", []pair{{"type", 2}, {"data", []any{"hello"}}, {"nsp", chat}}, opts})
				require.NoError(t, stranger.Publish(t.Context(), broker.SocketIO.Broadcast(chat), frame))
				assert.Equal(t, "hello", (<-s.got).Event())
			})
		})
	}
}

type socket struct {
	id  string
	got chan *adapter.Packet
}

func newSocket(id string) *socket { return &socket{id, make(chan *adapter.Packet, 9)} }

func (s *socket) ID() string                { return s.id }
func (s *socket) Deliver(p *adapter.Packet) { s.got <- p }
func (s *socket) Disconnect(bool)           {}

// rude is a propagator that panics in some methods and writes fields that no message can carry.
type rude struct {
	panics string
	write  map[string]string
}

func (r rude) Inject(_ context.Context, c propagation.TextMapCarrier) {
	if strings.Contains(r.panics, "inject") {
		panic("inject")
	}
	for k, v := range r.write {
		c.Set(k, v)
	}
}

func (r rude) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if strings.Contains(r.panics, "extract") {
		panic("extract")
	}
	return propagation.TraceContext{}.Extract(ctx, c)
}

func (r rude) Fields() []string {
	if strings.Contains(r.panics, "fields") {
		panic("fields")
	}
	return []string{"traceparent", "x-big", "x-bad"}
}

// Messages and queries arrive whatever the propagator does, with the caller's own header, and each failure is counted.
func TestRudePropagator(t *testing.T) {
	for name, c := range map[string]struct {
		propagator rude
		reason     string
		also       map[string]string
	}{
		"panics in Inject":  {rude{panics: "inject"}, "panic", nil},
		"panics in Extract": {rude{panics: "extract", write: map[string]string{"traceparent": goodParent}}, "panic", nil},
		"panics in Fields":  {rude{panics: "fields inject"}, "panic", nil},
		"writes too much":   {rude{write: map[string]string{"x-big": strings.Repeat("x", 64<<10)}}, "oversized", nil},
		"writes no text":    {rude{write: map[string]string{"x-bad": "\xff"}}, "malformed", nil},
		"over what is left": {rude{write: map[string]string{"x-big": strings.Repeat("x", 4000)}}, "oversized", map[string]string{"own": strings.Repeat("o", 5000)}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newTelemetry(t)
			bus := memorybroker.NewBus(nil)
			observer := func() *otelbackplane.Observer {
				return v.observer(t, otelbackplane.Options{Propagator: c.propagator})
			}
			k := newSocket("there")
			a, ns := startServer(t, bus.Broker(), adapter.Options{Observers: []observe.Observer{observer()}}, newSocket("here"))
			startServer(t, bus.Broker(), adapter.Options{Observers: []observe.Observer{observer()}}, k)
			until(t, "peer", func() bool { return len(a.KnownPeers()) == 1 }, func() string { return "" })
			require.NoError(t, ns.Emit(t.Context(), "hello"))
			assert.Equal(t, "hello", (<-k.got).Event())
			all, err := ns.AllRooms(t.Context())
			if assert.NoError(t, err, "%+v", all) {
				assert.Len(t, all.List, 2, "%+v", all)
			}
			// The same on the core, with a header of the caller.
			nodes := start(t, inMemory(), 2, backplane.Options{Observers: []observe.Observer{observer()}}, nil)
			m := nodes[1].join(t, "m")
			require.NoError(t, nodes[0].ns.Broadcast(t.Context(), []byte("x"), backplane.All().Header(c.also)))
			got := m.next(t)
			assert.Equal(t, c.also["own"], got.Header["own"], "header %.100v", got.Header)
			assert.Empty(t, got.Header["x-big"], "header %.100v", got.Header)
			assert.NotZero(t, v.sum(t, "crossroom.header.ignored", attrReason(c.reason)), "not counted")
			for _, n := range nodes {
				st := n.Stats()
				assert.Zero(t, st.Panics, "stats %+v", st)
			}
		})
	}
}

// Providers that are shut down while messages are in flight lose spans and metrics, but no message. The core continues
// to count.
func TestShutdownInTheMiddle(t *testing.T) {
	v := newTelemetry(t)
	nodes := start(t, inMemory(), 2, backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}}, nil)
	m := nodes[1].join(t, "m")
	const messages = 50
	delivered := 0
	m.do = func() {
		if delivered++; delivered == messages/2 { // between the start and the end of a delivery
			_ = v.tracer.Shutdown(context.Background())
			_ = v.meter.Shutdown(context.Background())
		}
	}
	for i := range messages {
		require.NoError(t, nodes[0].ns.Broadcast(t.Context(), []byte{byte(i)}, backplane.All()))
	}
	for i := range messages {
		got := m.next(t)
		require.Equal(t, byte(i), got.Payload[0], "%v", got.Payload)
	}
	all, err := nodes[0].ns.AllRooms(t.Context())
	require.NoError(t, err, "%+v", all)
	assert.Len(t, all.Answered, 1, "%+v", all)
	st := nodes[1].Stats()
	assert.EqualValues(t, messages, st.Deliveries)
	assert.Zero(t, st.Panics)
	n := len(v.spans.Ended())
	assert.NotZero(t, n)
	assert.Less(t, n, 2*messages)
}

// Excess baggage is dropped. The trace continues.
func TestBaggageTravels(t *testing.T) {
	v := newTelemetry(t)
	nodes := start(t, inMemory(), 2, backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{MaxHeader: 300})}}, nil)
	m := nodes[1].join(t, "m")
	for size, want := range map[int]bool{10: true, 1000: false} {
		ctx, span := v.request(t)
		member, err := baggage.NewMember("k", strings.Repeat("v", size))
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)
		require.NoError(t, nodes[0].ns.Broadcast(baggage.ContextWithBaggage(ctx, bag), nil, backplane.All()))
		assert.Equal(t, want, m.next(t).Header["baggage"] != "", "baggage of %d arrived", size)
		v.ended(t, span.SpanContext().TraceID(), 2)
	}
	assert.EqualValues(t, 1, v.sum(t, "crossroom.header.ignored", attrReason("oversized")), "not counted")
}
