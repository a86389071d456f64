package guides_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// report is an Options.OnError: it has everything that no caller gets.
func report(err error) {
	var lost *broker.LossError
	var gap *backplane.InterruptedError
	var op *backplane.OpError
	switch {
	case errors.As(err, &lost):
		slog.Error("messages were lost", "error", err) // this node's, on their way out
	case errors.As(err, &gap):
		slog.Warn("messages may be missed", "namespace", gap.Namespace, "error", err) // others', until the link returns
	case errors.Is(err, backplane.ErrStalled) && errors.As(err, &op):
		slog.Error("a socket blocks", "socket", op.Name) // a bug of the host: use package outgoing
	default:
		slog.Error("realtime", "error", err)
	}
}

// observed makes a server with traces, metrics and an observer of its own.
func observed(b broker.Broker, provider *sdktrace.TracerProvider, count *counter) (*adapter.Server, error) {
	observer, err := otelbackplane.New(&otelbackplane.Options{TracerProvider: provider}) // nil: the global providers
	if err != nil {
		return nil, err
	}
	return adapter.New(b, &adapter.Options{
		Observers: []observe.Observer{observer, count},
		OnError:   report,
	})
}

// counter is an observer that counts the gaps of subscriptions.
type counter struct {
	observe.Nop
	gaps int
}

func (c *counter) Events() observe.Events { return observe.Outages }

func (c *counter) Interrupted(namespace string, err error) { c.gaps++ }

func Example_observability() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	spans := tracetest.NewSpanRecorder() // your SDK exports them instead
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	bus, count := memorybroker.NewBus(nil), &counter{}
	var chat *adapter.Namespace
	for range 2 {
		server, err := observed(bus.Broker(), provider, count)
		if err != nil {
			log.Fatal(err)
		}
		if chat, err = server.Of(ctx, "/chat"); err != nil {
			log.Fatal(err)
		}
		defer server.Close(ctx)
	}
	if err := chat.Emit(ctx, "hello"); err != nil {
		log.Fatal(err)
	}
	if _, err := chat.All().FetchSockets(ctx); err != nil {
		log.Fatal(err)
	}
	var names []string
	for _, s := range spans.Ended() {
		names = append(names, s.Name())
	}
	slices.Sort(names)
	fmt.Println(strings.Join(names, "\n"))

	stats := chat.Server().Stats().Links[0] // one for each link; a server has one unless Options.Links says otherwise
	fmt.Println(stats.Broadcasts, "broadcast,", stats.Requests, "request,", stats.Partial, "partial,", count.gaps, "gaps")
	// Output:
	// answer members /chat
	// deliver /chat
	// publish /chat
	// query members /chat
	// 1 broadcast, 1 request, 0 partial, 0 gaps
}
