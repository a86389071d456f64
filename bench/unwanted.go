package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
	"github.com/redis/go-redis/v9"
)

// A marker for a room that is held follows this many messages for a room that is
// not, to tell that they are done with.
const unwantedBatch = 1024

// frame is a message as Crossroom's adapter sends it.
type frame struct {
	channel, payload string
}

// captureFrame emits one event to a room and returns what went to Redis.
func captureFrame(ctx context.Context, e *env, to string) (f frame, err error) {
	n, err := newCrossroom(ctx, e, openRedis)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, n.close(ctx)) }()
	client := e.client()
	defer client.Close()
	sub := client.PSubscribe(ctx, n.server.Prefix()+"#*")
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		return f, err
	}
	if err := n.ns.To(to).Emit(ctx, "event", event); err != nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := sub.ReceiveMessage(ctx)
	if err != nil {
		return f, err
	}
	return frame{m.Channel, m.Payload}, nil
}

func (f frame) publish() string {
	return fmt.Sprintf("*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(f.channel), f.channel, len(f.payload), f.payload)
}

// unwantedThrough sends messages for a room that nobody holds, each batch with a
// marker behind, to whoever calls arrived at the marker, and returns what one costs.
func unwantedThrough(ctx context.Context, e *env, listen func(prefix, marker string, arrived func()) (stop func() error, err error)) (f figures, err error) {
	elsewhere, err := captureFrame(ctx, e, "elsewhere")
	if err != nil {
		return nil, err
	}
	marker, err := captureFrame(ctx, e, room)
	if err != nil {
		return nil, err
	}
	batch := []byte(strings.Repeat(elsewhere.publish(), unwantedBatch-1) + marker.publish())

	prefix, _, _ := strings.Cut(marker.channel, "#")
	fl := newFlow()
	stop, err := listen(prefix, marker.channel, func() { fl.arrived(unwantedBatch) })
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	conn, err := net.Dial("tcp", e.redis.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends when conn is closed

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	clock := e.startClock()
	timer := time.AfterFunc(e.length/2, fl.stop)
	defer timer.Stop()
	for ctx.Err() == nil && fl.enter(unwantedBatch) {
		if _, err := conn.Write(batch); err != nil {
			return nil, err
		}
	}
	if err := fl.drained(ctx); err != nil {
		return nil, err
	}
	f = clock.per(fl.got.Load())
	runtime.ReadMemStats(&after)
	return append(f, figure{"allocs/msg", float64(after.Mallocs-before.Mallocs) / float64(fl.got.Load())}), nil
}

// goredisUnwanted is what receiving alone costs with go-redis.
func goredisUnwanted(ctx context.Context, e *env) (figures, error) {
	return unwantedThrough(ctx, e, func(prefix, marker string, arrived func()) (func() error, error) {
		client := e.client()
		sub := client.PSubscribe(ctx, prefix+"#/#*")
		if _, err := sub.Receive(ctx); err != nil {
			return nil, errors.Join(err, sub.Close(), client.Close())
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				got, err := sub.Receive(ctx)
				if err != nil {
					return
				}
				if m, ok := got.(*redis.Message); ok && m.Channel == marker {
					arrived()
				}
			}
		}()
		return func() error {
			err := sub.Close()
			<-done
			return errors.Join(err, client.Close())
		}, nil
	})
}

// crossroomUnwanted receives and drops.
func crossroomUnwanted(ctx context.Context, e *env) (figures, error) {
	return unwantedThrough(ctx, e, func(_, _ string, arrived func()) (func() error, error) {
		n, err := newCrossroom(ctx, e, openRedis)
		if err != nil {
			return nil, err
		}
		if err := join(ctx, n.ns, &sink{"sink", arrived}, room); err != nil {
			return nil, errors.Join(err, n.close(ctx))
		}
		return func() error { return n.close(ctx) }, nil
	})
}

// coreUnwanted is the core and the adapter alone: a broker that only hands over.
func coreUnwanted(ctx context.Context, e *env) (f figures, err error) {
	return coreReceives(ctx, e, "elsewhere")
}

// coreWanted is the same for a room with one socket, to compare with.
func coreWanted(ctx context.Context, e *env) (f figures, err error) {
	return coreReceives(ctx, e, room)
}

func coreReceives(ctx context.Context, e *env, to string) (f figures, err error) {
	// What another node sends, taken from the same kind of broker.
	sender := &handing{}
	payload, err := sender.capture(ctx, to)
	if err != nil {
		return nil, err
	}
	hand := &handing{}
	server, err := adapter.New(hand, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close(context.WithoutCancel(ctx))) }()
	ns, err := server.Of(ctx, "/")
	if err != nil {
		return nil, err
	}
	marked := make(chan struct{}, 1)
	if err := errors.Join(
		join(ctx, ns, &sink{"marker", func() { marked <- struct{}{} }}, "marker"),
		join(ctx, ns, &sink{"sink", func() {}}, room),
	); err != nil {
		return nil, err
	}
	last, err := sender.capture(ctx, "marker")
	if err != nil {
		return nil, err
	}

	channel, end := broker.SocketIO.Room("/", to), broker.SocketIO.Room("/", "marker")
	run := func(n int) time.Duration {
		start := time.Now()
		for range n {
			hand.deliver(channel, payload)
		}
		hand.deliver(end, last)
		<-marked
		return time.Since(start)
	}
	run(10_000)
	const n = 500_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	took := run(n)
	runtime.ReadMemStats(&after)
	return figures{
		{"ns/msg", float64(took) / n},
		{"allocs/msg", float64(after.Mallocs-before.Mallocs) / n},
	}, nil
}

// handing is a broker that hands messages to its receivers and sends nothing.
type handing struct {
	broker.Broker // nil: what is not below is not called
	receivers     []handTo
	published     []byte
}

type handTo struct {
	filters  []broker.Filter
	receiver broker.Receiver
}

func (h *handing) capture(ctx context.Context, to string) (payload []byte, err error) {
	server, err := adapter.New(h, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Close(context.WithoutCancel(ctx))) }()
	ns, err := server.Of(ctx, "/")
	if err != nil {
		return nil, err
	}
	if err := ns.To(to).Emit(ctx, "event", event); err != nil {
		return nil, err
	}
	return h.published, nil
}

func (h *handing) deliver(ch broker.Channel, payload []byte) {
	for _, r := range h.receivers {
		for _, f := range r.filters {
			if f.Matches(ch) {
				r.receiver.Deliver(ch, payload)
			}
		}
	}
}

func (h *handing) Publish(_ context.Context, ch broker.Channel, payload []byte) error {
	if ch.Kind() == broker.KindRoom {
		h.published = bytes.Clone(payload)
	}
	return nil
}

func (h *handing) Subscribe(_ context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	h.receivers = append(h.receivers, handTo{filters, r})
	return handed{}, nil
}

func (h *handing) Flush(context.Context) error       { return nil }
func (h *handing) OnLoss(func(broker.Loss)) func()   { return func() {} }
func (h *handing) Capabilities() broker.Capabilities { return broker.Capabilities{Name: "handing"} }
func (h *handing) Stats() broker.Stats               { return broker.Stats{} }
func (h *handing) Close(context.Context) error       { return nil }
func (h *handing) Subscribers(_ context.Context, chs ...broker.Channel) ([]int, error) {
	return nil, errors.ErrUnsupported
}
func (h *handing) Responders(context.Context, broker.Protocol, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

type handed struct{}

func (handed) Add(context.Context, ...broker.Filter) error    { return nil }
func (handed) Remove(context.Context, ...broker.Filter) error { return nil }
func (handed) Close(context.Context) error                    { return nil }
