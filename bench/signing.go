package main

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

// signing compares nodes that sign and verify with nodes that do not.
func signing() measurement {
	return measurement{
		name: "signing",
		what: "the event of the first row with and without keys: out of a node; and out of one and into another through a broker that only hands it on",
		kept: true,
		contenders: []contender{
			{"out", sending(unkeyed)},
			{"out, signed", sending(keyed)},
			{"through", flooded(handedOn(unkeyed))},
			{"through, signed", flooded(handedOn(keyed))},
		},
		bars: []bar{
			atMost(1000, "signing a message: CPU ns", more(cpu, "out, signed", "out")),
			atMost(1000, "verifying a message: CPU ns", paired(cpu, func(v []float64) float64 { return max(0, v[0]-v[1]-(v[2]-v[3])) },
				"through, signed", "through", "out, signed", "out")),
			atMost(0, "signing and verifying a message: allocations", paired(allocs, func(v []float64) float64 { return max(0, v[0]-v[1]-0.1) },
				"through, signed", "through")),
		},
	}
}

// signingOverRedis does the same for the whole way. The fleets take turns on the prefix.
func signingOverRedis() measurement {
	return measurement{
		name:   "signing, redis",
		what:   "the event of the first row with and without keys",
		speeds: true,
		contenders: []contender{
			{"unsigned", flooded(overRedis(unkeyed))},
			{"signed", flooded(overRedis(keyed))},
		},
		bars: []bar{
			atMost(1.6, "a signed message over Redis: CPU, times an unsigned one", times(cpu, "signed", "unsigned")),
		},
	}
}

// keyring returns the keys of the nodes of a contender; nil for none.
type keyring func() (*backplane.Keyring, error)

func unkeyed() (*backplane.Keyring, error) { return nil, nil }

func keyed() (*backplane.Keyring, error) {
	return backplane.NewKeyring(bytes.Repeat([]byte("secret"), 6))
}

// keyedNode is a node with keys on a broker.
func keyedNode(ctx context.Context, s *stage, b broker.Broker, keys keyring) (*node, error) {
	k, err := keys()
	if err != nil {
		return nil, err
	}
	return nodeOn(ctx, s, b, &adapter.Options{Keys: k})
}

// sending publishes to a broker that discards messages.
func sending(keys keyring) func(context.Context, *stage) (round, error) {
	return func(ctx context.Context, s *stage) (round, error) {
		n, err := keyedNode(ctx, s, &loop{}, keys)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (int64, figures, error) {
			return s.repeat(1024, func(times int) error {
				for range times {
					if err := n.emits(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}, nil
	}
}

// handingOn is a broker whose broadcasts go to the receiver of another one.
type handingOn struct {
	loop
	mu sync.Mutex
	to *loop
}

// Publish implements broker.Broker.
func (h *handingOn) Publish(_ context.Context, ch broker.Channel, payload []byte) error {
	if ch.Kind() == broker.KindRoom {
		payload = slices.Clone(payload)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.to.receiver.Deliver(ch, payload)
	}
	return nil
}

func handedOn(keys keyring) way {
	return func(ctx context.Context, s *stage, arrived func()) (publish, error) {
		in := &loop{}
		receiver, err := keyedNode(ctx, s, in, keys)
		if err != nil {
			return nil, err
		}
		if err := join(ctx, receiver.ns, &sink{"sink", arrived}, room); err != nil {
			return nil, err
		}
		publisher, err := keyedNode(ctx, s, &handingOn{to: in}, keys)
		if err != nil {
			return nil, err
		}
		return publisher.emits, nil
	}
}

// overRedis is the way of crossroomOn(onRedis) for nodes with keys.
func overRedis(keys keyring) way {
	return func(ctx context.Context, s *stage, arrived func()) (publish, error) {
		k, err := keys()
		if err != nil {
			return nil, err
		}
		list, err := nodesOf(ctx, s, &adapter.Options{Keys: k}, 2, 1, arrived)
		if err != nil {
			return nil, err
		}
		return list[1].emits, nil
	}
}
