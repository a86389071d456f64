package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	redisbroker "github.com/crossroom/crossroom/broker/redis"
	otelbackplane "github.com/crossroom/crossroom/otel"
)

// service is one Go node of the fleet with an SDK of its own, like a process.
type service struct {
	provider *sdktrace.TracerProvider
	broker   broker.Broker
	server   *adapter.Server
	shop     *adapter.Namespace
	got      atomic.Int64 // by all sockets
}

func startService(ctx context.Context, name, redis, collector string) (*service, error) {
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(collector+"/v1/traces"))
	if err != nil {
		return nil, err
	}
	s := &service{provider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", name))),
	)}
	observer, err := otelbackplane.New(&otelbackplane.Options{TracerProvider: s.provider})
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	if s.broker, err = redisbroker.Open(redis, nil); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	if s.server, err = adapter.New(s.broker, &adapter.Options{Name: name, Observers: []observe.Observer{observer}}); err == nil {
		s.shop, err = s.server.Of(ctx, "/shop")
	}
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

// populate adds sockets that are in a room.
func (s *service) populate(ctx context.Context, n int, room string) error {
	for i := range n {
		c := &client{id: fmt.Sprintf("%s-%s-%d", s.server.UID(), room, i), service: s}
		if err := s.shop.Add(ctx, c); err != nil {
			return err
		}
		if err := s.shop.Join(ctx, c.id, room); err != nil {
			return err
		}
	}
	return nil
}

// close leaves the fleet, and exports the last spans.
func (s *service) close(ctx context.Context) error {
	var errs []error
	if s.server != nil {
		errs = append(errs, s.server.Close(ctx))
	}
	if s.broker != nil {
		errs = append(errs, s.broker.Close(ctx))
	}
	return errors.Join(append(errs, s.provider.Shutdown(ctx))...)
}

// client represents a browser: it reads a packet's bytes like a connection.
type client struct {
	id      string
	service *service
	last    []byte
}

func (c *client) ID() string { return c.id }

func (c *client) Deliver(p *adapter.Packet) {
	c.last = append(c.last[:0], p.Frames().Text...)
	c.service.got.Add(1)
}

func (c *client) Disconnect(bool) {}
