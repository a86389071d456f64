package main

import (
	"context"
	"errors"
	"slices"

	"github.com/crossroom/crossroom/broker"
)

// loop is a broker to measure with what stands around it: what is published is gone, or
// the last broadcast kept, and what is received is handed to receiver directly.
type loop struct {
	keep    bool
	channel broker.Channel
	payload []byte

	receiver broker.Receiver // of the namespace
}

func (l *loop) Publish(_ context.Context, ch broker.Channel, payload []byte) error {
	if l.keep && ch.Kind() == broker.KindRoom {
		l.channel, l.payload = ch, slices.Clone(payload)
	}
	return nil
}

func (l *loop) Subscribe(_ context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if len(filters) > 1 { // not the control channel
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
