package otelbackplane_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// One broadcast over four nodes is one trace: the request, the publisher and three receivers. One receiver has no
// member in the room.
func TestBroadcastIsOneTrace(t *testing.T) {
	for _, system := range systems {
		for _, links := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/links=%v", system.name, links), func(t *testing.T) {
				v := newTelemetry(t)
				o := v.observer(t, otelbackplane.Options{Links: links})
				nodes := start(t, system.open(t), 4, backplane.Options{Observers: []observe.Observer{o}}, nil)
				var members []*member
				for i, n := range nodes[:3] { // not the last
					for k := range i + 1 {
						members = append(members, n.join(t, fmt.Sprint("m", i, k), "red"))
					}
				}
				ctx, span := v.request(t)
				require.NoError(t, nodes[0].ns.Broadcast(ctx, []byte("hello"), backplane.To("red").Except("x", "y")))
				span.End()
				for _, m := range members {
					m.next(t)
				}
				check := func(s sdktrace.ReadOnlySpan, n *node, name string, kind trace.SpanKind, want map[attribute.Key]string) {
					t.Helper()
					assert.Equal(t, name, s.Name(), "%v %q %+v", s.SpanKind(), s.Name(), s.Status())
					assert.Equal(t, kind, s.SpanKind(), "%v %q %+v", s.SpanKind(), s.Name(), s.Status())
					assert.Equal(t, codes.Unset, s.Status().Code, "%v %q %+v", s.SpanKind(), s.Name(), s.Status())
					for key, value := range map[attribute.Key]string{
						"messaging.system": system.name, "messaging.client.id": n.ID(), "messaging.operation.name": name[:7],
						"messaging.destination.template": "/chat#{room}", "messaging.destination.name": "/chat#red",
						"messaging.message.body.size": "5", "crossroom.namespace": chat, "crossroom.rooms": `["red"]`,
						"crossroom.rooms.count": "1", "crossroom.except.count": "2",
					} {
						if _, other := want[key]; !other {
							want[key] = value
						}
					}
					for key, value := range want {
						assert.Equal(t, value, attr(s, key), "%s of %s: %s", name, n.ID(), key)
					}
				}
				id := span.SpanContext().TraceID()
				size := 2
				if !links {
					size = 5
				}
				all := v.ended(t, id, size)
				var root, out sdktrace.ReadOnlySpan
				var in []sdktrace.ReadOnlySpan
				for _, s := range all {
					switch s.Name() {
					case "GET /":
						root = s
					case "publish /chat#{room}":
						out = s
					default:
						in = append(in, s)
					}
				}
				if root == nil || out == nil || out.Parent().SpanID() != root.SpanContext().SpanID() || out.Parent().IsRemote() {
					t.Fatalf("spans:%s", names(all))
				}
				check(out, nodes[0], "publish /chat#{room}", trace.SpanKindProducer, map[attribute.Key]string{
					"messaging.operation.type": "send", "crossroom.members.delivered": "1",
				})
				if links {
					until(t, "deliveries", func() bool {
						in = slices.DeleteFunc(v.spans.Ended(), func(s sdktrace.ReadOnlySpan) bool { return s.SpanKind() != trace.SpanKindConsumer })
						return len(in) == 3
					}, func() string { return names(in) })
				}
				require.Len(t, in, 3, "spans:%s", names(all))
				for _, s := range in {
					i := slices.IndexFunc(nodes, func(n *node) bool { return n.ID() == attr(s, "messaging.client.id") })
					require.GreaterOrEqual(t, i, 1, "%v", s.Attributes())
					outcome, count := "delivered", fmt.Sprint(i+1)
					if i == 3 {
						outcome, count = "unwanted", "0"
					}
					check(s, nodes[i], "deliver /chat#{room}", trace.SpanKindConsumer, map[attribute.Key]string{
						"messaging.operation.type": "process", "crossroom.origin": nodes[0].ID(), "crossroom.outcome": outcome,
						"crossroom.members.matched": count, "crossroom.members.delivered": count, "crossroom.members.skipped": "0",
						"messaging.message.envelope.size": attr(out, "messaging.message.envelope.size"),
					})
					parent := s.Parent()
					if links {
						require.False(t, parent.IsValid(), "parent %v", parent)
						require.Len(t, s.Links(), 1, "parent %v", parent)
						parent = s.Links()[0].SpanContext
						assert.NotEqual(t, id, s.SpanContext().TraceID(), "of the same trace")
					}
					assert.Equal(t, out.SpanContext().SpanID(), parent.SpanID(), "parent %+v", parent)
					assert.Equal(t, id, parent.TraceID(), "parent %+v", parent)
					assert.True(t, parent.IsRemote(), "parent %+v", parent)
				}
			})
		}
	}
}

// One query with a frozen node: a client span with an event for each response, a server span on each node that
// responds, and the name of the node that does not.
func TestQuestionNamesTheMissing(t *testing.T) {
	for _, system := range systems {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel() // it waits for the deadline of a query
			v := newTelemetry(t)
			o := v.observer(t, otelbackplane.Options{})
			frozen, release := make(chan struct{}, 1), make(chan struct{})
			frozen <- struct{}{}
			nodes := start(t, system.open(t), 4, backplane.Options{Observers: []observe.Observer{o}, RequestsTimeout: 2 * time.Second}, &backplane.NamespaceOptions{
				OnRequest: func(ctx context.Context, _ string, p []byte) ([]byte, error) {
					assert.True(t, trace.SpanContextFromContext(ctx).IsValid(), "no span in OnRequest's context")
					select {
					case <-frozen: // the first request only
						<-release
					default:
					}
					return p, nil
				},
			})
			defer close(release)
			ctx, span := v.request(t)
			replies, err := nodes[0].ns.Request(ctx, []byte("who"))
			span.End()
			var partial *backplane.PartialError
			require.ErrorAs(t, err, &partial, "%+v", replies)
			require.Len(t, replies.List, 2, "%+v", replies)
			require.Len(t, partial.Coverage.Missing, 1, "%+v", replies)
			missing := partial.Coverage.Missing[0].Node
			all := v.ended(t, span.SpanContext().TraceID(), 4) // the span of the frozen node has not ended
			var ask sdktrace.ReadOnlySpan
			var served []string
			for _, s := range all {
				switch s.Name() {
				case "query custom /chat":
					ask = s
				case "answer custom /chat":
					served = append(served, attr(s, "messaging.client.id"))
				}
			}
			require.NotNil(t, ask, "spans:%s", names(all))
			require.Equal(t, trace.SpanKindClient, ask.SpanKind(), "spans:%s", names(all))
			require.Len(t, served, 2, "spans:%s", names(all))
			st := ask.Status()
			assert.Equal(t, codes.Error, st.Code)
			assert.Contains(t, st.Description, missing)
			for key, want := range map[attribute.Key]string{
				"crossroom.nodes.expected": "3", "crossroom.nodes.answered": "2", "crossroom.nodes.missing": "1", "error.type": "partial",
				"crossroom.nodes.missing.names": fmt.Sprintf("[%q]", missing), "crossroom.operation": "custom",
			} {
				assert.Equal(t, want, attr(ask, key), key)
			}
			var answers []string
			for _, e := range ask.Events() {
				switch e.Name {
				case "answer":
					answers = append(answers, e.Attributes[0].Value.AsString())
				case "missing":
					text := fmt.Sprint(e.Attributes)
					assert.Contains(t, text, missing)
					assert.Contains(t, text, "timeout")
				}
			}
			assert.ElementsMatch(t, served, answers)
			assert.NotContains(t, answers, missing)
			for _, s := range all {
				if s.Name() == "answer custom /chat" && (s.SpanKind() != trace.SpanKindServer || s.Parent().SpanID() != ask.SpanContext().SpanID() ||
					attr(s, "messaging.message.conversation_id") != attr(ask, "messaging.message.conversation_id")) {
					t.Errorf("%+v", s)
				}
			}
			a, m := v.sum(t, "crossroom.query.answered"), v.sum(t, "crossroom.query.missing")
			assert.EqualValues(t, 2, a)
			assert.EqualValues(t, 1, m)
		})
	}
}

// A request without a response has a producer and consumers.
func TestEventIsContinued(t *testing.T) {
	v := newTelemetry(t)
	o := v.observer(t, otelbackplane.Options{})
	nodes := start(t, inMemory(), 3, backplane.Options{Observers: []observe.Observer{o}}, nil)
	ctx, span := v.request(t)
	require.NoError(t, nodes[0].ns.Event(ctx, []byte("x")))
	span.End()
	kinds := map[string]int{}
	for _, s := range v.ended(t, span.SpanContext().TraceID(), 4) {
		kinds[s.SpanKind().String()+" "+s.Name()]++
	}
	assert.Equal(t, 1, kinds["producer send event /chat"])
	assert.Equal(t, 2, kinds["consumer process event /chat"])
}

// A failed operation is an error of its span. A successful delivery is not.
func TestFailuresAreErrors(t *testing.T) {
	v := newTelemetry(t)
	o := v.observer(t, otelbackplane.Options{HideRooms: true})
	nodes := start(t, inMemory(), 2, backplane.Options{Observers: []observe.Observer{o}}, nil)
	m := nodes[1].join(t, "m", "secret")
	m.do = func() { m.got <- nil; panic("m") }
	ctx, span := v.request(t)
	require.NoError(t, nodes[0].ns.Broadcast(ctx, nil, backplane.To("secret")))
	m.next(t)
	for _, s := range v.ended(t, span.SpanContext().TraceID(), 2) {
		assert.Equal(t, s.Status().Code == codes.Error, s.SpanKind() == trace.SpanKindConsumer, "%s: %+v", s.Name(), s.Status())
		assert.NotContains(t, fmt.Sprint(s.Name(), s.Attributes(), s.Status(), s.Events()), "secret", "a hidden room")
	}
	require.NoError(t, nodes[0].broker.Close(t.Context()))
	ctx, span = v.request(t)
	require.ErrorIs(t, nodes[0].ns.Broadcast(ctx, nil, backplane.To("secret")), broker.ErrClosed)
	for _, s := range v.ended(t, span.SpanContext().TraceID(), 1) {
		assert.Equal(t, codes.Error, s.Status().Code, "%s: %+v %v", s.Name(), s.Status(), s.Attributes())
		assert.NotEqual(t, "-", attr(s, "error.type"), "%s: %+v %v", s.Name(), s.Status(), s.Attributes())
	}
	assert.EqualValues(t, 2, v.sum(t, "messaging.client.sent.messages"), "published, or tried to")
}

// With SkipUnwanted a node without members does not read messages for other nodes' rooms.
func TestSkipUnwanted(t *testing.T) {
	v := newTelemetry(t)
	o := v.observer(t, otelbackplane.Options{SkipUnwanted: true})
	nodes := start(t, inMemory(), 3, backplane.Options{Observers: []observe.Observer{o}}, nil)
	m := nodes[1].join(t, "m", "red")
	end := nodes[2].join(t, "end")
	ctx, span := v.request(t)
	for _, to := range []string{"red", "end"} {
		require.NoError(t, nodes[0].ns.Broadcast(ctx, nil, backplane.To(to)))
	}
	m.next(t)
	end.next(t)
	v.ended(t, span.SpanContext().TraceID(), 4) // twice publish and deliver
}

// logged keeps the trace of each log line.
type logged struct {
	slog.Handler
	lines chan trace.TraceID
}

func (l logged) Enabled(context.Context, slog.Level) bool { return true }
func (l logged) Handle(ctx context.Context, _ slog.Record) error {
	l.lines <- trace.SpanContextFromContext(ctx).TraceID()
	return nil
}

// Log lines about failures while a message was delivered, or a request served, belong to its trace.
func TestLogLinesAreOfTheTrace(t *testing.T) {
	v := newTelemetry(t)
	log := logged{lines: make(chan trace.TraceID, 9)}
	nodes := start(t, inMemory(), 2,
		backplane.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}, Logger: slog.New(log)},
		&backplane.NamespaceOptions{OnRequest: func(context.Context, string, []byte) ([]byte, error) { panic("request") }})
	m := nodes[1].join(t, "m")
	m.do = func() { panic("deliver") }
	own := nodes[0].join(t, "own")
	own.do = m.do
	server := adapterWith(t, v, slog.New(log))
	for name, cause := range map[string]func(ctx context.Context) error{
		"deliver": func(ctx context.Context) error { return nodes[0].ns.Broadcast(ctx, nil, backplane.To("m")) },
		"own":     func(ctx context.Context) error { return nodes[0].ns.Broadcast(ctx, nil, backplane.To("own")) },
		"request": func(ctx context.Context) error { _, err := nodes[0].ns.Request(ctx, nil); return err },
		"adapter": func(ctx context.Context) error { return server.Emit(ctx, "x") },
	} {
		ctx, span := v.request(t)
		require.NoError(t, cause(ctx))
		select {
		case id := <-log.lines:
			assert.Equal(t, span.SpanContext().TraceID(), id, "%s: the log line is of trace", name)
		case <-time.After(deadline):
			t.Fatalf("%s: no log line", name)
		}
	}
}

// adapterWith is a namespace of a server whose only socket panics.
func adapterWith(t *testing.T, v *telemetry, log *slog.Logger) *adapter.Namespace {
	opts := adapter.Options{Observers: []observe.Observer{v.observer(t, otelbackplane.Options{})}, Logger: log}
	_, ns := startServer(t, memorybroker.New(nil), opts, panicking{})
	return ns
}

type panicking struct{}

func (panicking) ID() string              { return "p" }
func (panicking) Deliver(*adapter.Packet) { panic("deliver") }
func (panicking) Disconnect(bool)         {}
