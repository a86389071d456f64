package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/crossroom/crossroom/adapter"
)

const audience = 100_000 // sockets in the room

// idle is a socket that does nothing at all.
type idle struct{ id string }

func (s *idle) ID() string              { return s.id }
func (s *idle) Deliver(*adapter.Packet) {}
func (s *idle) Disconnect(bool)         {}

// fanoutOwn is a node's broadcast to its own sockets. Emit returns when they all
// have it.
func fanoutOwn(ctx context.Context, e *env) (f figures, err error) {
	n, err := newCrossroom(ctx, e, openRedis)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close(ctx)) }()
	if err := seat(ctx, n.ns, audience, room, func(id string) adapter.Socket { return &idle{id} }); err != nil {
		return nil, err
	}
	return broadcasts(ctx, e, func(ctx context.Context) error {
		return n.ns.To(room).Emit(ctx, "event", event)
	})
}

// fanoutRemote is another node's broadcast. A marker behind it, to a room with one
// socket, tells when all have it.
func fanoutRemote(ctx context.Context, e *env) (figures, error) {
	marked := make(chan struct{}, 1)
	return crossroomPair(ctx, e, openRedis, func() { marked <- struct{}{} }, func(publisher, receiver *crossroomNode) (figures, error) {
		if err := seat(ctx, receiver.ns, audience, "audience", func(id string) adapter.Socket { return &idle{id} }); err != nil {
			return nil, err
		}
		return broadcasts(ctx, e, func(ctx context.Context) error {
			if err := publisher.ns.To("audience").Emit(ctx, "event", event); err != nil {
				return err
			}
			if err := publisher.ns.To(room).Emit(ctx, "event", event); err != nil {
				return err
			}
			select {
			case <-marked:
				return nil
			case <-time.After(10 * time.Second):
				return errors.New("not all sockets got it")
			}
		})
	})
}

// seat puts n sockets into a room, in an order that has nothing to do with the one
// in which they came: neighbours in the room are not neighbours in memory.
func seat(ctx context.Context, ns *adapter.Namespace, n int, room string, make func(id string) adapter.Socket) error {
	for i := range n {
		if err := ns.Add(make(socketID(i))); err != nil {
			return err
		}
	}
	for _, i := range rand.Perm(n) {
		if err := ns.Join(ctx, socketID(i), room); err != nil {
			return err
		}
	}
	return nil
}

// socketID has as many characters as Socket.IO's ids.
func socketID(i int) string { return fmt.Sprintf("%020d", i) }

// broadcasts returns what one broadcast costs for each of the audience.
func broadcasts(ctx context.Context, e *env, do func(context.Context) error) (figures, error) {
	for range 3 { // buffers grow to their size
		if err := do(ctx); err != nil {
			return nil, err
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, n := time.Now(), 0
	for ; n < 10 || time.Since(start) < e.length/4; n++ {
		if err := do(ctx); err != nil {
			return nil, err
		}
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	total := float64(n) * audience
	return figures{
		{"ns/socket", float64(took) / total},
		{"allocs/socket", float64(after.Mallocs-before.Mallocs) / total},
	}, nil
}
