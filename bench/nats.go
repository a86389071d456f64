package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// natsConn is a connection as in the documentation of nats.go.
func natsConn(s *stage) (*nats.Conn, error) {
	nc, err := nats.Connect(s.nats.URL)
	if err == nil {
		s.later(func() error { nc.Close(); return nil })
	}
	return nc, err
}

// bareNATS is a connection that publishes and another that subscribes.
func bareNATS(ctx context.Context, s *stage, arrived func()) (publish, error) {
	sample, err := s.natsSample(ctx)
	if err != nil {
		return nil, err
	}
	publisher, err := natsConn(s)
	if err != nil {
		return nil, err
	}
	receiver, err := natsConn(s)
	if err != nil {
		return nil, err
	}
	if _, err := receiver.Subscribe(sample.Subject, func(*nats.Msg) { arrived() }); err != nil {
		return nil, err
	}
	return func(context.Context) error { return publisher.Publish(sample.Subject, sample.Data) }, receiver.Flush()
}

// natsSample is the event in the form that a Crossroom node sends: all contenders carry the same bytes. It is captured
// once.
func (e *env) natsSample(ctx context.Context) (m *nats.Msg, err error) {
	if e.sample != nil {
		return e.sample, nil
	}
	s := &stage{env: e}
	defer func() { err = errors.Join(err, s.close()) }()
	nc, err := natsConn(s)
	if err != nil {
		return nil, err
	}
	sub, err := nc.SubscribeSync("*.socketio.cast.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, err
	}
	n, err := newNode(ctx, s, onNATS)
	if err == nil {
		err = n.emits(ctx)
	}
	if err != nil {
		return nil, err
	}
	e.sample, err = sub.NextMsg(10 * time.Second)
	return e.sample, err
}

// responding is the number of other nodes, or connections, that respond to a request.
const responding = 8

// bareScatterGather publishes to a subject with that many responding connections, and waits for all responses.
func bareScatterGather(_ context.Context, s *stage) (round, error) {
	const subject = "bare.request"
	response := []byte(event)
	for range responding {
		nc, err := natsConn(s)
		if err != nil {
			return nil, err
		}
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(response) }); err != nil {
			return nil, err
		}
		if err := nc.Flush(); err != nil {
			return nil, err
		}
	}
	requester, err := natsConn(s)
	if err != nil {
		return nil, err
	}
	inbox := requester.NewInbox()
	responses, err := requester.SubscribeSync(inbox)
	return func(ctx context.Context) (int64, figures, error) {
		ctx, cancel := context.WithTimeout(ctx, s.length+10*time.Second)
		defer cancel()
		return s.oneByOne(func() error {
			if err := requester.PublishRequest(subject, inbox, []byte(event)); err != nil {
				return err
			}
			for range responding {
				if _, err := responses.NextMsgWithContext(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}, err
}

// natsMembers queries that many other nodes for their members, of which each has one.
func natsMembers(others int) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		var requester *node
		for i := range others + 1 {
			n, err := newNode(ctx, s, onNATS)
			if err != nil {
				return nil, err
			}
			if err := n.ns.Add(ctx, &sink{fmt.Sprint("sink ", i), func() {}}); err != nil {
				return nil, err
			}
			requester = n
		}
		if _, err := requester.server.AwaitPeers(ctx, others); err != nil {
			return nil, err
		}
		return func(ctx context.Context) (int64, figures, error) {
			return s.oneByOne(func() error {
				all, err := requester.ns.All().FetchSockets(ctx)
				if err != nil {
					return err
				}
				if len(all.List) != others+1 {
					return fmt.Errorf("%d sockets, want %d", len(all.List), others+1)
				}
				return nil
			})
		}, nil
	}
}

// natsGrowth queries fleets of different sizes.
func natsGrowth(_ context.Context, s *stage) (round, error) {
	return func(ctx context.Context) (int64, figures, error) {
		var out figures
		var xs, ys []float64
		for others := 2; others <= 32; others *= 2 {
			micros, err := natsGrown(ctx, s, others)
			if err != nil {
				return 0, nil, err
			}
			out = append(out, figure{fmt.Sprintf("CPU µs, %d nodes", others), micros})
			xs, ys = append(xs, float64(others)), append(ys, micros)
		}
		slope, straight := straightLine(xs, ys)
		return 0, append(out, figure{"CPU µs a node", slope}, figure{"R²", straight}), nil
	}, nil
}

// natsGrown returns the processor time of one request.
func natsGrown(ctx context.Context, s *stage, others int) (micros float64, err error) {
	fleet := &stage{env: s.env, length: s.length}
	defer func() { err = errors.Join(err, fleet.close()) }()
	request, err := natsMembers(others)(ctx, fleet)
	if err != nil {
		return 0, err
	}
	f, err := fleet.measure(ctx, request)
	used, _ := f.of(cpu)
	return used / 1e3, err
}

// straightLine returns the slope of the straight line closest to the points, and the share of their variance that it
// explains.
func straightLine(xs, ys []float64) (slope, r2 float64) {
	n := float64(len(xs))
	var sx, sy, sxx, sxy, syy float64
	for i, x := range xs {
		y := ys[i]
		sx, sy, sxx, sxy, syy = sx+x, sy+y, sxx+x*x, sxy+x*y, syy+y*y
	}
	cov, vx, vy := n*sxy-sx*sy, n*sxx-sx*sx, n*syy-sy*sy
	return cov / vx, cov * cov / (vx * vy)
}
