package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/crossroom/crossroom/internal/child"
)

// natsTable is what is measured on a nats-server.
var natsTable = []measurement{
	{
		name: "nats throughput",
		what: "128-byte events to one room from 64 goroutines over NATS, received by another node; messages delivered a second",
		contenders: []contender{
			{"nats.go", throughput(bareNATS)},
			{"broker", throughput(brokerOnNATS)},
			{"crossroom", throughput(crossroomOn(openNATS))},
		},
		bars: []bar{
			atLeast(0.6, "throughput on NATS, of bare nats.go", ratio("msg/s", "crossroom", "nats.go")),
		},
	},
	{
		name: "nats latency",
		what: "128-byte events at 2,000 a second over NATS, from just before publishing to the receiver's call",
		contenders: []contender{
			{"nats.go", latency(bareNATS)},
			{"broker", latency(brokerOnNATS)},
			{"crossroom", latency(crossroomOn(openNATS))},
		},
		bars: []bar{
			atMost(1.2, "median latency on NATS, times bare nats.go", ratio("p50 µs", "crossroom", "nats.go")),
		},
	},
	{
		name: "nats question",
		what: "which members there are, asked of 8 other nodes, beside a message that 8 connections answer; one after another",
		contenders: []contender{
			{"nats.go", bareScatterGather},
			{"crossroom", natsQuestion},
		},
		bars: []bar{
			atMost(2.5, "members of 8 nodes on NATS, times a bare scatter-gather", ratio("p50 µs", "crossroom", "nats.go")),
		},
	},
	{
		name: "nats growth",
		what: "the same question, from 2 to 32 other nodes; the slope of the straight line through the medians, and how straight it is (R²)",
		once: true,
		contenders: []contender{
			{"crossroom", natsGrowth},
		},
	},
}

// natsURL starts the server if it does not run.
func (e *env) natsURL(ctx context.Context) (string, error) {
	if e.nats == nil {
		s, err := child.StartNATS(ctx)
		if err != nil {
			return "", err
		}
		e.nats = s
	}
	return e.nats.URL, nil
}

// bareNATS is a connection that publishes and another that subscribes, as
// nats.go's documentation shows it.
func bareNATS(ctx context.Context, e *env, arrived func(), run withPublish) (figures, error) {
	url, err := e.natsURL(ctx)
	if err != nil {
		return nil, err
	}
	var both [2]*nats.Conn
	for i := range both {
		if both[i], err = nats.Connect(url); err != nil {
			return nil, err
		}
		defer both[i].Close()
	}
	sample, err := e.natsSample(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := both[1].Subscribe(sample.Subject, func(*nats.Msg) { arrived() }); err != nil {
		return nil, err
	}
	if err := both[1].Flush(); err != nil {
		return nil, err
	}
	return run(func(context.Context) error { return both[0].Publish(sample.Subject, sample.Data) })
}

// natsSample is the event as a Crossroom node sends it: all contenders carry the same
// bytes.
func (e *env) natsSample(ctx context.Context) (m *nats.Msg, err error) {
	if e.sample != nil {
		return e.sample, nil
	}
	url, err := e.natsURL(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("*.socketio.cast.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, err
	}
	node, err := newCrossroom(ctx, e, openNATS)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, node.close(ctx)) }()
	if err := node.ns.To(room).Emit(ctx, "event", event); err != nil {
		return nil, err
	}
	if m, err = sub.NextMsg(10 * time.Second); err == nil {
		e.sample = m
	}
	return m, err
}

// answering is how many other nodes, or connections, answer a question.
const answering = 8

// bareScatterGather asks a subject that so many connections answer, and waits for all
// answers.
func bareScatterGather(ctx context.Context, e *env) (figures, error) {
	url, err := e.natsURL(ctx)
	if err != nil {
		return nil, err
	}
	const subject = "bare.question"
	answer := []byte(event)
	for range answering {
		nc, err := nats.Connect(url)
		if err != nil {
			return nil, err
		}
		defer nc.Close()
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(answer) }); err != nil {
			return nil, err
		}
		if err := nc.Flush(); err != nil {
			return nil, err
		}
	}
	asker, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	defer asker.Close()
	inbox := asker.NewInbox()
	answers, err := asker.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	return repeated(ctx, e.length/2, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := asker.PublishRequest(subject, inbox, []byte(event)); err != nil {
			return err
		}
		for range answering {
			if _, err := answers.NextMsgWithContext(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func natsQuestion(ctx context.Context, e *env) (figures, error) {
	return natsMembers(ctx, e, answering, e.length/2)
}

// natsMembers asks so many other nodes for their members, of whom each has one.
func natsMembers(ctx context.Context, e *env, others int, length time.Duration) (f figures, err error) {
	var nodes []*crossroomNode
	for i := range others + 1 {
		n, err := newCrossroom(ctx, e, openNATS)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, n.close(ctx)) }()
		if err := n.ns.Add(&sink{fmt.Sprint("sink ", i), func() {}}); err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	asker := nodes[others]
	for len(asker.server.Peers()) < others {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return repeated(ctx, length, func(ctx context.Context) error {
		all, err := asker.ns.FetchSockets(ctx)
		if err != nil {
			return err
		}
		if len(all.List) != others+1 {
			return fmt.Errorf("%d sockets, want %d", len(all.List), others+1)
		}
		return nil
	})
}

// natsGrowth asks fleets of different sizes.
func natsGrowth(ctx context.Context, e *env) (figures, error) {
	var out figures
	var xs, ys []float64
	for others := 2; others <= 32; others *= 2 {
		f, err := natsMembers(ctx, e, others, e.length/2)
		if err != nil {
			return nil, err
		}
		p50, _ := f.of("p50 µs")
		out = append(out, figure{fmt.Sprintf("p50 µs, %d nodes", others), p50})
		xs, ys = append(xs, float64(others)), append(ys, p50)
	}
	slope, straight := straightLine(xs, ys)
	return append(out, figure{"µs a node", slope}, figure{"R²", straight}), nil
}

// straightLine gives the slope of the straight line closest to the points, and the share of
// their variance that it explains.
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
