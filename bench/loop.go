package main

import (
	"context"
	"errors"
	"slices"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// loop is a broker for measuring the layers around it. It discards published messages, or keeps the last broadcast. A
// test delivers messages directly to receiver.
type loop struct {
	keep bool
	sent message

	receiver broker.Receiver // of the namespace
}

// message is a broadcast as a broker carries it.
type message struct {
	channel broker.Channel
	payload []byte
}

// loopNode is a node on a loop.
type loopNode struct {
	*node
	*loop
}

func newLoopNode(ctx context.Context, s *stage, observer observe.Observer) (loopNode, error) {
	l, opts := &loop{}, &adapter.Options{}
	if observer != nil {
		opts.Observers = []observe.Observer{observer}
	}
	n, err := nodeOn(ctx, s, l, opts)
	return loopNode{n, l}, err
}

// capture returns the message that a node publishes when it emits the event to a room.
func capture(ctx context.Context, s *stage, observer observe.Observer, room string) (message, error) {
	n, err := newLoopNode(ctx, s, observer)
	if err != nil {
		return message{}, err
	}
	n.keep = true
	err = n.ns.To(room).Emit(ctx, "event", event)
	return n.sent, err
}

func (l *loop) deliver(m message) { l.receiver.Deliver(m.channel, m.payload) }

func (l *loop) Publish(_ context.Context, ch broker.Channel, payload []byte) error {
	if l.keep && ch.Kind() == broker.KindRoom {
		l.sent = message{ch, slices.Clone(payload)}
	}
	return nil
}

func (l *loop) Subscribe(_ context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	channel := broker.SocketIO.Room("/", room)
	if slices.ContainsFunc(filters, func(f broker.Filter) bool { return f.Matches(channel) }) {
		l.receiver = r
	}
	return loopSubscription{}, nil
}

func (l *loop) Flush(context.Context) error { return nil }

func (l *loop) Subscribers(context.Context, ...broker.Channel) ([]int, error) {
	return nil, errors.ErrUnsupported
}

func (l *loop) Responders(context.Context, broker.Protocol, string) ([]string, error) {
	return nil, errors.ErrUnsupported
}

func (l *loop) OnLoss(func(broker.Loss)) (stop func()) { return func() {} }
func (l *loop) Stats() broker.Stats                    { return broker.Stats{} }
func (l *loop) Capabilities() broker.Capabilities {
	return broker.Capabilities{Name: "loop", Prefix: "socket.io", Reconnects: true}
}
func (l *loop) Close(context.Context) error { return nil }

type loopSubscription struct{}

func (loopSubscription) Add(context.Context, ...broker.Filter) error    { return nil }
func (loopSubscription) Remove(context.Context, ...broker.Filter) error { return nil }
func (loopSubscription) Close(context.Context) error                    { return nil }
