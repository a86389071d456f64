package otelbackplane_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane/observe"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// client represents a client's connection.
type client chan *adapter.Packet

func (client) ID() string                  { return "ada" }
func (c client) Deliver(p *adapter.Packet) { c <- p }
func (client) Disconnect(bool)             {}

// One broadcast through two servers is one trace.
func Example() {
	ctx, bus := context.Background(), memorybroker.NewBus(nil)
	spans := tracetest.NewSpanRecorder() // your SDK exports them instead
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	observer, err := otelbackplane.New(&otelbackplane.Options{TracerProvider: provider})
	if err != nil {
		log.Fatal(err)
	}
	defer observer.Close()
	var servers []*adapter.Server
	var spaces []*adapter.Namespace
	for range 2 {
		server, err := adapter.New(bus.Broker(), &adapter.Options{Observers: []observe.Observer{observer}})
		if err != nil {
			log.Fatal(err)
		}
		chat, err := server.Of(ctx, "/chat")
		if err != nil {
			log.Fatal(err)
		}
		servers, spaces = append(servers, server), append(spaces, chat)
	}
	ada := make(client, 1)
	if err := spaces[1].Add(ctx, ada); err != nil {
		log.Fatal(err)
	}

	request, span := provider.Tracer("app").Start(ctx, "POST /orders")
	if err := spaces[0].To("ada").Emit(request, "ordered", 42); err != nil {
		log.Fatal(err)
	}
	span.End()
	<-ada
	for _, s := range servers { // Close ends all spans
		s.Close(ctx)
		s.Broker().Close(ctx)
	}

	names := map[trace.SpanID]string{}
	for _, s := range spans.Ended() {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	var lines []string
	for _, s := range spans.Ended() {
		if s.SpanContext().TraceID() == span.SpanContext().TraceID() && s.Parent().IsValid() {
			lines = append(lines, names[s.Parent().SpanID()]+" > "+s.Name())
		}
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	// Output:
	// POST /orders > publish /chat#{room}
	// publish /chat#{room} > deliver /chat#{room}
}
