package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// A marker for a room that is held follows after this many messages for a room that is not. It shows that they have
// been processed.
const unwantedBatch = 1024

// frame is a message as Crossroom's adapter sends it to Redis.
type frame struct{ channel, payload string }

// captureFrame emits the event to a room and returns the bytes sent to Redis.
func captureFrame(ctx context.Context, s *stage, to string) (f frame, err error) {
	n, err := newNode(ctx, s, onRedis)
	if err != nil {
		return f, err
	}
	sub := goredisClient(s).PSubscribe(ctx, n.server.Prefix()+"#*")
	s.later(sub.Close)
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

// frames are captured once.
func (e *env) frames(ctx context.Context) (elsewhere, marker frame, err error) {
	if e.captured[1] == (frame{}) {
		s := &stage{env: e}
		defer func() { err = errors.Join(err, s.close()) }()
		for i, to := range []string{"elsewhere", room} {
			if e.captured[i], err = captureFrame(ctx, s, to); err != nil {
				return frame{}, frame{}, err
			}
		}
	}
	return e.captured[0], e.captured[1], nil
}

// unwantedThrough sends messages for a room without sockets, each batch with a marker behind, to the receiver that
// listen opens, which calls arrived at the marker.
func unwantedThrough(listen func(ctx context.Context, s *stage, marker frame, arrived func()) error) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		elsewhere, marker, err := s.frames(ctx)
		if err != nil {
			return nil, err
		}
		batch := []byte(strings.Repeat(elsewhere.publish(), unwantedBatch-1) + marker.publish())
		f := newFlow()
		if err := listen(ctx, s, marker, func() { f.arrived(unwantedBatch) }); err != nil {
			return nil, err
		}
		conn, err := net.Dial("tcp", s.redis.Addr)
		if err != nil {
			return nil, err
		}
		s.later(conn.Close)
		go func() { _, _ = io.Copy(io.Discard, conn) }() // ends when conn is closed
		return func(ctx context.Context) (int64, figures, error) {
			return f.write(ctx, s.length, unwantedBatch, func() error { _, err := conn.Write(batch); return err })
		}, nil
	}
}

// goredisUnwanted is the cost of receiving with go-redis.
func goredisUnwanted(ctx context.Context, s *stage, marker frame, arrived func()) error {
	prefix, _, _ := strings.Cut(marker.channel, "#")
	return goredisReceive(ctx, s, goredisClient(s).PSubscribe(ctx, prefix+"#/#*"), func(channel string) {
		if channel == marker.channel {
			arrived()
		}
	})
}

// crossroomUnwanted receives and drops.
func crossroomUnwanted(ctx context.Context, s *stage, _ frame, arrived func()) error {
	list, err := nodesOf(ctx, s, &adapter.Options{Subscription: backplane.StaticSubscription}, 1, 0, nil)
	if err != nil {
		return err
	}
	return join(ctx, list[0].ns, &sink{"sink", arrived}, room)
}

// received is the core and the adapter alone: a broker delivers messages for a room. The one called room has a socket.
func received(to string) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		m, err := newMarked(ctx, s, nil)
		if err != nil {
			return nil, err
		}
		if err := join(ctx, m.ns, &sink{"sink", func() {}}, room); err != nil {
			return nil, err
		}
		broadcast, err := capture(ctx, s, nil, to)
		if err != nil {
			return nil, err
		}
		return m.receives(s, broadcast), nil
	}
}

// receives delivers a message to the node repeatedly.
func (m *marked) receives(s *stage, broadcast message) round {
	return func(context.Context) (int64, figures, error) {
		return s.repeat(unwantedBatch, func(n int) error {
			for range n {
				m.deliver(broadcast)
			}
			return m.done()
		})
	}
}
