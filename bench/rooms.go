package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// unwanted is the number of messages that a node received for rooms without sockets.
const unwanted = "messages unwanted"

// nodesOf opens so many nodes on Redis. The first holders of them have a socket in the room.
func nodesOf(ctx context.Context, s *stage, opts *adapter.Options, nodes, holders int, arrived func()) ([]*node, error) {
	list := make([]*node, nodes)
	for i := range list {
		b, err := with(ctx, s, onRedis)
		if err != nil {
			return nil, err
		}
		if list[i], err = nodeOn(ctx, s, b, opts); err != nil {
			return nil, err
		}
		if i < holders {
			if err := join(ctx, list[i].ns, &sink{fmt.Sprint("sink ", i), arrived}, room); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// toNodes publishes so many messages a second to one room over a bare connection, which some of the nodes hold.
func toNodes(mode backplane.SubscriptionMode, nodes, holders, rate int) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		elsewhere, here, err := s.frames(ctx)
		if err != nil {
			return nil, err
		}
		f := elsewhere
		if holders > 0 {
			f = here
		}
		list, err := nodesOf(ctx, s, &adapter.Options{Subscription: mode}, nodes, holders, func() {})
		if err != nil {
			return nil, err
		}
		conn, err := net.Dial("tcp", s.redis.Addr)
		if err != nil {
			return nil, err
		}
		s.later(conn.Close)
		go func() { _, _ = io.Copy(io.Discard, conn) }() // ends when conn is closed
		const step = 4 * time.Millisecond
		n := rate * int(step) / int(time.Second)
		batch := []byte(strings.Repeat(f.publish(), n))
		count := func() (sum uint64) {
			for _, n := range list {
				sum += n.server.Stats().Links[0].Unwanted
			}
			return sum
		}
		return func(ctx context.Context) (int64, figures, error) {
			before, sent := count(), int64(0)
			ticker := time.NewTicker(step)
			defer ticker.Stop()
			for end := time.Now().Add(s.length); time.Now().Before(end); {
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return 0, nil, ctx.Err()
				}
				if _, err := conn.Write(batch); err != nil {
					return 0, nil, err
				}
				sent += int64(n)
			}
			return sent, figures{{unwanted, float64(count() - before)}}, nil
		}, nil
	}
}

// inMode is the way of crossroomOn with nodes of a mode.
func inMode(mode backplane.SubscriptionMode) way {
	return func(ctx context.Context, s *stage, arrived func()) (publish, error) {
		list, err := nodesOf(ctx, s, &adapter.Options{Subscription: mode}, 2, 1, arrived)
		if err != nil {
			return nil, err
		}
		return list[1].emits, nil
	}
}

// subscribes sends one SUBSCRIBE after another over a bare connection.
func subscribes(_ context.Context, s *stage) (round, error) {
	conn, err := net.Dial("tcp", s.redis.Addr)
	if err != nil {
		return nil, err
	}
	s.later(conn.Close)
	r, i := bufio.NewReader(conn), 0
	return func(context.Context) (int64, figures, error) {
		return s.oneByOne(func() error {
			i++
			name := fmt.Sprintf("bare#/#room-%d#", i)
			if _, err := fmt.Fprintf(conn, "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(name), name); err != nil {
				return err
			}
			for range 6 { // *3, $9, subscribe, $n, the name, :i
				if _, err := r.ReadSlice('\n'); err != nil {
					return err
				}
			}
			return nil
		})
	}, nil
}

// joins has a socket join one new room after another.
func joins(mode backplane.SubscriptionMode) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		list, err := nodesOf(ctx, s, &adapter.Options{Subscription: mode}, 1, 1, func() {})
		if err != nil {
			return nil, err
		}
		i := 0
		return func(ctx context.Context) (int64, figures, error) {
			return s.oneByOne(func() error {
				i++
				return list[0].ns.Join(ctx, "sink 0", fmt.Sprintf("room-%d", i))
			})
		}, nil
	}
}
