package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/rooms"
)

const audience = 100_000 // sockets in the room

// listener is a socket that does as little as possible: it stores the last packet.
type listener struct {
	id   string
	last *adapter.Packet
}

func (l *listener) ID() string                { return l.id }
func (l *listener) Deliver(p *adapter.Packet) { l.last = p }
func (l *listener) Disconnect(bool)           {}

// hall has the sockets that all contenders of the fan-out call, in the same order. That order is unrelated to the
// order in which they were made: neighbours in the room are not neighbours in memory.
type hall struct{ sockets []adapter.Socket }

func newHall() *hall {
	h := &hall{make([]adapter.Socket, audience)}
	for _, i := range rand.Perm(audience) {
		h.sockets[i] = &listener{id: socketID(i)}
	}
	return h
}

// socketID returns an id as long as Socket.IO's.
func socketID(i int) string { return fmt.Sprintf("%020d", i) }

// seat puts the sockets into a room.
func (h *hall) seat(ctx context.Context, ns *adapter.Namespace, room string) error {
	for _, i := range rand.Perm(audience) {
		if err := ns.Add(ctx, h.sockets[i]); err != nil {
			return err
		}
	}
	for _, s := range h.sockets {
		if err := ns.Join(ctx, s.ID(), room); err != nil {
			return err
		}
	}
	return nil
}

// record is the minimum that a registry keeps for a socket: a node's is as large.
type record struct {
	socket adapter.Socket
	_      rooms.Embed[backplane.Member]
}

// loop calls the sockets of a list of records and does nothing else. It reads the same memory as a node.
func (h *hall) loop(_ context.Context, s *stage) (round, error) {
	records := make([]*record, audience)
	for _, i := range rand.Perm(audience) {
		records[i] = &record{socket: h.sockets[i]}
	}
	packet := new(adapter.Packet)
	return func(context.Context) (int64, figures, error) {
		return s.repeat(audience, func(int) error {
			for _, r := range records {
				r.socket.Deliver(packet)
			}
			return nil
		})
	}, nil
}

// direct calls the sockets of a list of sockets.
func (h *hall) direct(_ context.Context, s *stage) (round, error) {
	packet := new(adapter.Packet)
	return func(context.Context) (int64, figures, error) {
		return s.repeat(audience, func(int) error {
			for _, s := range h.sockets {
				s.Deliver(packet)
			}
			return nil
		})
	}, nil
}

// own is a node's broadcast to its own sockets. Emit returns when they all have it.
func (h *hall) own(ctx context.Context, s *stage) (round, error) {
	n, err := newLoopNode(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	if err := h.seat(ctx, n.ns, room); err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int64, figures, error) {
		return s.repeat(audience, func(int) error { return n.emits(ctx) })
	}, nil
}

// remote is another node's broadcast. A marker behind it, to a room with one socket, shows when all have it.
func (h *hall) remote(ctx context.Context, s *stage) (round, error) {
	m, err := newMarked(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	if err := h.seat(ctx, m.ns, room); err != nil {
		return nil, err
	}
	broadcast, err := capture(ctx, s, nil, room)
	if err != nil {
		return nil, err
	}
	return func(context.Context) (int64, figures, error) {
		return s.repeat(audience, func(int) error { m.deliver(broadcast); return m.done() })
	}, nil
}

// marked is a node with a socket that reports when messages have been processed.
type marked struct {
	loopNode
	marker message
	came   chan struct{}
}

func newMarked(ctx context.Context, s *stage, observer observe.Observer) (*marked, error) {
	n, err := newLoopNode(ctx, s, observer)
	if err != nil {
		return nil, err
	}
	m := &marked{loopNode: n, came: make(chan struct{}, 1)}
	if m.marker, err = capture(ctx, s, nil, "marker"); err != nil {
		return nil, err
	}
	return m, n.ns.Add(ctx, &sink{"marker", func() { m.came <- struct{}{} }})
}

// done waits until the node has processed the delivered messages.
func (m *marked) done() error {
	m.deliver(m.marker)
	select {
	case <-m.came:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("messages are not processed after 10 s")
	}
}
