package otelbackplane_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// One broadcast over four nodes is one trace: the request, the publisher and three
// receivers, of which one has nobody in the room.
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
				if err := nodes[0].ns.Broadcast(ctx, []byte("hello"), backplane.To("red").Except("x", "y")); err != nil {
					t.Fatal(err)
				}
				span.End()
				for _, m := range members {
					m.next(t)
				}
				check := func(s sdktrace.ReadOnlySpan, n *node, name string, kind trace.SpanKind, want map[attribute.Key]string) {
					t.Helper()
					if s.Name() != name || s.SpanKind() != kind || s.Status().Code != codes.Unset {
						t.Errorf("%v %q %+v, want %v %q", s.SpanKind(), s.Name(), s.Status(), kind, name)
					}
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
						if got := attr(s, key); got != value {
							t.Errorf("%s of %s: %s = %s, want %s", name, n.ID(), key, got, value)
						}
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
				if len(in) != 3 {
					t.Fatalf("spans:%s", names(all))
				}
				for _, s := range in {
					i := slices.IndexFunc(nodes, func(n *node) bool { return n.ID() == attr(s, "messaging.client.id") })
					if i < 1 {
						t.Fatalf("%v", s.Attributes())
					}
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
						if parent.IsValid() || len(s.Links()) != 1 {
							t.Fatalf("parent %v, links %v", parent, s.Links())
						}
						parent = s.Links()[0].SpanContext
						if s.SpanContext().TraceID() == id {
							t.Error("of the same trace")
						}
					}
					if parent.SpanID() != out.SpanContext().SpanID() || parent.TraceID() != id || !parent.IsRemote() {
						t.Errorf("parent %+v, want %+v", parent, out.SpanContext())
					}
				}
			})
		}
	}
}

// One question with a frozen node: a client span with an event for each answer, a
// server span on each node that answers, and the name of the one that does not.
func TestQuestionNamesTheMissing(t *testing.T) {
	for _, system := range systems {
		t.Run(system.name, func(t *testing.T) {
			t.Parallel() // it takes the time of a question's deadline
			v := newTelemetry(t)
			o := v.observer(t, otelbackplane.Options{})
			frozen, release := make(chan struct{}, 1), make(chan struct{})
			frozen <- struct{}{}
			nodes := start(t, system.open(t), 4, backplane.Options{Observers: []observe.Observer{o}, RequestsTimeout: 2 * time.Second}, &backplane.NamespaceOptions{
				OnRequest: func(ctx context.Context, _ string, p []byte) ([]byte, error) {
					if !trace.SpanContextFromContext(ctx).IsValid() {
						t.Error("no span in OnRequest's context")
					}
					select {
					case <-frozen: // the first that comes, and only that one
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
			if !errors.As(err, &partial) || len(replies.List) != 2 || len(partial.Coverage.Missing) != 1 {
				t.Fatalf("%+v, %v", replies, err)
			}
			missing := partial.Coverage.Missing[0].Node
			all := v.ended(t, span.SpanContext().TraceID(), 4) // the frozen one's has not ended
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
			if ask == nil || ask.SpanKind() != trace.SpanKindClient || len(served) != 2 {
				t.Fatalf("spans:%s", names(all))
			}
			if st := ask.Status(); st.Code != codes.Error || !strings.Contains(st.Description, missing) {
				t.Errorf("status %+v, want %s in it", st, missing)
			}
			for key, want := range map[attribute.Key]string{
				"crossroom.nodes.expected": "3", "crossroom.nodes.answered": "2", "crossroom.nodes.missing": "1", "error.type": "partial",
				"crossroom.nodes.missing.names": fmt.Sprintf("[%q]", missing), "crossroom.operation": "custom",
			} {
				if got := attr(ask, key); got != want {
					t.Errorf("%s = %s, want %s", key, got, want)
				}
			}
			var answers []string
			for _, e := range ask.Events() {
				switch e.Name {
				case "answer":
					answers = append(answers, e.Attributes[0].Value.AsString())
				case "missing":
					if text := fmt.Sprint(e.Attributes); !strings.Contains(text, missing) || !strings.Contains(text, "timeout") {
						t.Errorf("missing: %s", text)
					}
				}
			}
			slices.Sort(answers)
			slices.Sort(served)
			if !slices.Equal(answers, served) || slices.Contains(answers, missing) {
				t.Errorf("answers of %v, served by %v, missing %s", answers, served, missing)
			}
			for _, s := range all {
				if s.Name() == "answer custom /chat" && (s.SpanKind() != trace.SpanKindServer || s.Parent().SpanID() != ask.SpanContext().SpanID() ||
					attr(s, "messaging.message.conversation_id") != attr(ask, "messaging.message.conversation_id")) {
					t.Errorf("%+v", s)
				}
			}
			if a, m := v.sum(t, "crossroom.query.answered"), v.sum(t, "crossroom.query.missing"); a != 2 || m != 1 {
				t.Errorf("answered %d, missing %d", a, m)
			}
		})
	}
}

// What wants no answer has a producer and consumers.
func TestEventIsContinued(t *testing.T) {
	v := newTelemetry(t)
	o := v.observer(t, otelbackplane.Options{})
	nodes := start(t, inMemory(), 3, backplane.Options{Observers: []observe.Observer{o}}, nil)
	ctx, span := v.request(t)
	if err := nodes[0].ns.Event(ctx, []byte("x")); err != nil {
		t.Fatal(err)
	}
	span.End()
	kinds := map[string]int{}
	for _, s := range v.ended(t, span.SpanContext().TraceID(), 4) {
		kinds[s.SpanKind().String()+" "+s.Name()]++
	}
	if kinds["producer send event /chat"] != 1 || kinds["consumer process event /chat"] != 2 {
		t.Errorf("%v", kinds)
	}
}

// Errors are errors of spans, and not of deliveries that went well.
func TestFailuresAreErrors(t *testing.T) {
	v := newTelemetry(t)
	o := v.observer(t, otelbackplane.Options{HideRooms: true})
	nodes := start(t, inMemory(), 2, backplane.Options{Observers: []observe.Observer{o}}, nil)
	m := nodes[1].join(t, "m", "secret")
	m.do = func() { m.got <- nil; panic("m") }
	ctx, span := v.request(t)
	if err := nodes[0].ns.Broadcast(ctx, nil, backplane.To("secret")); err != nil {
		t.Fatal(err)
	}
	m.next(t)
	for _, s := range v.ended(t, span.SpanContext().TraceID(), 2) {
		if failed := s.SpanKind() == trace.SpanKindConsumer; failed != (s.Status().Code == codes.Error) {
			t.Errorf("%s: %+v", s.Name(), s.Status())
		}
		if text := fmt.Sprint(s.Name(), s.Attributes(), s.Status(), s.Events()); strings.Contains(text, "secret") {
			t.Errorf("a hidden room: %s", text)
		}
	}
	if err := nodes[0].broker.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, span = v.request(t)
	if err := nodes[0].ns.Broadcast(ctx, nil, backplane.To("secret")); !errors.Is(err, broker.ErrClosed) {
		t.Fatal(err)
	}
	for _, s := range v.ended(t, span.SpanContext().TraceID(), 1) {
		if s.Status().Code != codes.Error || attr(s, "error.type") == "-" {
			t.Errorf("%s: %+v %v", s.Name(), s.Status(), s.Attributes())
		}
	}
	if n := v.sum(t, "messaging.client.sent.messages"); n != 2 {
		t.Errorf("%d published, or tried to", n)
	}
}

// With SkipUnwanted a node without members does not read what is not for it.
func TestSkipUnwanted(t *testing.T) {
	v := newTelemetry(t)
	o := v.observer(t, otelbackplane.Options{SkipUnwanted: true})
	nodes := start(t, inMemory(), 3, backplane.Options{Observers: []observe.Observer{o}}, nil)
	m := nodes[1].join(t, "m", "red")
	end := nodes[2].join(t, "end")
	ctx, span := v.request(t)
	for _, to := range []string{"red", "end"} {
		if err := nodes[0].ns.Broadcast(ctx, nil, backplane.To(to)); err != nil {
			t.Fatal(err)
		}
	}
	m.next(t)
	end.next(t)
	v.ended(t, span.SpanContext().TraceID(), 4) // two times publish and deliver
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

// Log lines about what went wrong while a message was delivered, or a request served, are
// of its trace.
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
		if err := cause(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case id := <-log.lines:
			if id != span.SpanContext().TraceID() {
				t.Errorf("%s: the log line is of trace %s", name, id)
			}
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
