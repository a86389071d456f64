// Command tracing is a fleet of three on Redis: two Go nodes, and a Node.js server with the stock
// OpenTelemetry SDK. One HTTP request is followed through all its effects. All three export by OTLP
// to a collector in this process, which writes the exports as lines of OTLP JSON.
//
//	go run ./tracing -out trace.jsonl
//	go run ./tracing/timeline trace.jsonl > trace.svg
//
// "make trace" in the directory above runs both commands, and installs what they need.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/crossroom/crossroom/internal/child"
)

func main() {
	out := flag.String("out", "trace.jsonl", "file to write, in lines of OTLP JSON")
	redis := flag.String("redis", "", "URL of a Redis to use; without it one is started")
	node := flag.String("node", "tracing/node", "directory of the Node.js server, where npm ci was run")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := run(ctx, *out, *redis, *node)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracing:", err)
		os.Exit(1)
	}
	fmt.Printf("trace %s is in %s\n", id, *out)
}

func run(ctx context.Context, out, redis, node string) (id trace.TraceID, err error) {
	f, err := os.Create(out)
	if err != nil {
		return id, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	collector, err := startCollector(f)
	if err != nil {
		return id, err
	}
	defer func() { err = errors.Join(err, collector.close()) }()
	if redis == "" {
		server, err := child.StartRedis(ctx)
		if err != nil {
			return id, fmt.Errorf("%w; or name a server with -redis", err)
		}
		defer server.Stop()
		redis = server.URL
	}

	var services []*service
	defer func() {
		for _, s := range services {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	for _, name := range []string{"web-1", "web-2"} {
		s, err := startService(ctx, name, redis, collector.URL)
		if err != nil {
			return id, err
		}
		services = append(services, s)
	}
	web1, web2 := services[0], services[1]
	if err := web1.populate(ctx, 25, "orders"); err != nil {
		return id, err
	}
	if err := web2.populate(ctx, 312, "orders"); err != nil {
		return id, err
	}
	stopNode, err := startNode(ctx, node, redis, collector.URL, 3)
	if err != nil {
		return id, err
	}
	defer func() { err = errors.Join(err, stopNode()) }()

	// A few orders first: the first of everything is slow.
	shop := httptest.NewServer(orders(web1))
	defer shop.Close()
	for i := range 20 {
		if id, err = order(ctx, shop.URL); err != nil {
			return id, err
		}
		if err := arrived(ctx, web1, web2, int64(i+1)); err != nil {
			return id, err
		}
	}
	return id, nil
}

// orders is the subject of the example: a handler whose request has effects in many places.
func orders(s *service) http.Handler {
	tracer := s.provider.Tracer("shop")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := tracer.Start(r.Context(), "POST /orders", trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(semconv.HTTPRequestMethodPost, semconv.HTTPRoute("/orders")))
		defer span.End()
		err := s.shop.To("orders").Emit(ctx, "order", map[string]any{"number": 4711})
		if err == nil {
			err = s.shop.To("billing").Emit(ctx, "invoice", 4711) // no socket is in that room
		}
		if err == nil {
			_, err = s.shop.To("orders").FetchSockets(ctx) // of the whole fleet
		}
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, span.SpanContext().TraceID())
	})
}

// order sends an order and returns its trace.
func order(ctx context.Context, url string) (id trace.TraceID, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return id, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return id, err
	}
	defer answer.Body.Close()
	var text string
	if _, err := fmt.Fscan(answer.Body, &text); err != nil || answer.StatusCode != http.StatusOK {
		return id, fmt.Errorf("the shop says %s: %s %w", answer.Status, text, err)
	}
	return trace.TraceIDFromHex(text)
}

// arrived waits until all sockets have the order, and the courier's message about it.
func arrived(ctx context.Context, web1, web2 *service, orders int64) error {
	for web1.got.Load() < 2*25*orders || web2.got.Load() < 2*312*orders {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d and %d packets came, then: %w", web1.got.Load(), web2.got.Load(), ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
