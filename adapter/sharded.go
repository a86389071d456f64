package adapter

import (
	"context"

	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/broker"
)

// shardLayout is a broker whose channels of Socket.IO are where its sharded adapter has them: requests on the channel of
// the namespace's broadcasts, and responses on the channel of a room with the requester's uid as its name. What a message
// is follows from its content. Channels of other protocols are as they were.
type shardLayout struct{ broker.Broker }

// place returns the channel that carries the messages of another one.
func place(ch broker.Channel) broker.Channel {
	if ch.Protocol() != broker.SocketIO {
		return ch
	}
	switch ch.Kind() {
	case broker.KindRequests, broker.KindResponses:
		return broker.SocketIO.Broadcast(ch.Namespace())
	case broker.KindNodeResponses:
		return broker.SocketIO.Room(ch.Namespace(), ch.Name())
	}
	return ch
}

// sorted returns the channel of which a message is, by its content.
func sorted(ch broker.Channel, payload []byte) broker.Channel {
	if ch.Protocol() != broker.SocketIO || ch.Kind() != broker.KindBroadcast && ch.Kind() != broker.KindRoom {
		return ch
	}
	switch sort := socketio.SortOf(payload); {
	case sort == socketio.SortRequest:
		return broker.SocketIO.Requests(ch.Namespace())
	case sort == socketio.SortResponse && ch.Kind() == broker.KindRoom:
		return broker.SocketIO.NodeResponses(ch.Namespace(), ch.Name())
	case sort == socketio.SortResponse:
		return broker.SocketIO.Responses(ch.Namespace())
	}
	return ch
}

// Publish implements broker.Broker.
func (b shardLayout) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	return b.Broker.Publish(ctx, place(ch), payload)
}

// Subscribers implements broker.Broker.
func (b shardLayout) Subscribers(ctx context.Context, channels ...broker.Channel) ([]int, error) {
	placed := make([]broker.Channel, len(channels))
	for i, ch := range channels {
		placed[i] = place(ch)
	}
	return b.Broker.Subscribers(ctx, placed...)
}

// Responders implements broker.Broker. The channels of responses cannot be told from those of rooms.
func (b shardLayout) Responders(context.Context, broker.Protocol, string) ([]string, error) {
	return nil, nil
}

// Capabilities implements broker.Broker.
func (b shardLayout) Capabilities() broker.Capabilities {
	c := b.Broker.Capabilities()
	c.ListsResponders = false
	return c
}

// Subscribe implements broker.Broker.
func (b shardLayout) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	own, is := "", false
	for _, f := range filters {
		if ch := f.Channel(); ch.Protocol() == broker.SocketIO {
			is = true
			if ch.Kind() == broker.KindNodeResponses {
				own = ch.Name()
			}
		}
	}
	if !is {
		return b.Broker.Subscribe(ctx, r, filters...)
	}
	in := &shardReceiver{Receiver: r, own: own}
	in.prefilter, _ = r.(broker.Prefilter)
	in.try, _ = r.(broker.TryReceiver)
	s, err := b.Broker.Subscribe(ctx, in, placeAll(filters)...)
	if err != nil {
		return nil, err
	}
	return &shardSubscription{s, own}, nil
}

// placeAll returns the filters for placed channels, each once.
func placeAll(filters []broker.Filter) []broker.Filter {
	list := make([]broker.Filter, 0, len(filters))
	seen := make(map[broker.Filter]bool, len(filters))
	for _, f := range filters {
		if ch := f.Channel(); f == broker.Exactly(ch) {
			f = broker.Exactly(place(ch))
		}
		if !seen[f] {
			seen[f] = true
			list = append(list, f)
		}
	}
	return list
}

// shardReceiver is the receiver of a namespace.
type shardReceiver struct {
	broker.Receiver
	prefilter broker.Prefilter
	try       broker.TryReceiver
	own       string // the uid of this server, whose room has responses
}

// Deliver implements broker.Receiver.
func (r *shardReceiver) Deliver(ch broker.Channel, payload []byte) {
	r.Receiver.Deliver(sorted(ch, payload), payload)
}

// Wants implements broker.Prefilter.
func (r *shardReceiver) Wants(ch broker.Channel) bool {
	return r.prefilter == nil || ch.Kind() == broker.KindRoom && ch.Name() == r.own || r.prefilter.Wants(ch)
}

// TryDeliver implements broker.TryReceiver.
func (r *shardReceiver) TryDeliver(ch broker.Channel, payload []byte) bool {
	return r.try != nil && r.try.TryDeliver(sorted(ch, payload), payload)
}

// shardSubscription is the subscription of a namespace.
type shardSubscription struct {
	broker.Subscription
	own string
}

// Add implements broker.Subscription.
func (s *shardSubscription) Add(ctx context.Context, filters ...broker.Filter) error {
	return s.Subscription.Add(ctx, placeAll(filters)...)
}

// Remove implements broker.Subscription. Channels that carry requests or responses too remain until Close.
func (s *shardSubscription) Remove(ctx context.Context, filters ...broker.Filter) error {
	list := make([]broker.Filter, 0, len(filters))
	for _, f := range filters {
		ch := f.Channel()
		shared := ch.Protocol() == broker.SocketIO && (ch.Kind() != broker.KindRoom || ch.Name() == s.own)
		if !shared {
			list = append(list, f)
		}
	}
	return s.Subscription.Remove(ctx, list...)
}
