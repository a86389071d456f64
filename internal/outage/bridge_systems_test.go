//go:build linux

package outage_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker"
)

// numbers is a socket that records the numbers it receives.
type numbers struct {
	name string
	got  chan int64
}

func (n *numbers) ID() string                { return n.name }
func (n *numbers) Deliver(p *adapter.Packet) { n.got <- p.Args()[0].(int64) }
func (n *numbers) Disconnect(bool)           {}

// A fleet on Redis and one on NATS, with the same prefix, are bridged like two prefixes of one Redis, and the leader
// hands over.
func TestBridgeBetweenRedisAndNATS(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var urls [2]string
	for i, s := range systems {
		_, urls[i] = s.start(t)
	}
	on := func(i int) broker.Broker {
		b, err := open(systems[i].name, urls[i])
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, b.Close(context.Background()))
		})
		return b
	}
	serve := func(b broker.Broker, opts *adapter.Options) *adapter.Namespace {
		opts.Heartbeat, opts.PeerTimeout = 100*time.Millisecond, patience
		opts.OnError = func(err error) { t.Error(err) }
		s, err := adapter.New(b, opts)
		require.NoError(t, err)
		ns, err := s.Of(ctx, space)
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, s.Close(context.Background()))
		})
		return ns
	}
	bridge := func(one, other int) *adapter.Namespace {
		return serve(on(one), &adapter.Options{Links: []adapter.Link{{Broker: on(other)}}, Bridge: &adapter.Bridge{}})
	}
	leader := bridge(0, 1)
	bridge(1, 0) // the order of links does not matter
	var ends [2]*adapter.Namespace
	var sockets [2]*numbers
	for i := range ends {
		ends[i] = serve(on(i), &adapter.Options{})
		sockets[i] = &numbers{systems[i].name, make(chan int64, 1024)}
		require.NoError(t, ends[i].Add(ctx, sockets[i]))
	}
	const count = 200
	for n := range count {
		for i := range ends {
			other := sockets[1-i].name
			require.NoError(t, ends[i].To(other).Emit(ctx, "n", n))
		}
		switch n {
		case 0: // it leads when this has arrived
			for _, s := range sockets {
				require.Zero(t, <-s.got, "%s first", s.name)
			}
		case count / 2:
			require.NoError(t, leader.Server().Close(ctx))
		}
	}
	for _, s := range sockets {
		for want := int64(1); want < count; want++ {
			select {
			case got := <-s.got:
				require.Equal(t, want, got, s.name)
			case <-ctx.Done():
				t.Fatalf("%s did not get %d", s.name, want)
			}
		}
		assert.Empty(t, s.got, "%s too many", s.name)
	}
}
