package backplane_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
	"github.com/crossroom/crossroom/broker/memory/memorytest"
)

// mute is a broker whose messages are lost without a report, as behind a half-open link, and whose counts fail.
type mute struct {
	broker.Broker
	on func() bool
}

var errNoCount = errors.New("not counted")

func (m *mute) Publish(ctx context.Context, ch broker.Channel, p []byte) error {
	if m.on() {
		return nil
	}
	return m.Broker.Publish(ctx, ch, p)
}

func (m *mute) Subscribers(ctx context.Context, ch ...broker.Channel) ([]int, error) {
	if m.on() {
		return nil, errNoCount
	}
	return m.Broker.Subscribers(ctx, ch...)
}

func TestHealthOfALifetime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ctx := t.Context()
		b := memorybroker.New(nil)
		n, err := backplane.New(b, nil)
		require.NoError(t, err)
		assert.Equal(t, observe.Health{}, n.Health(), "before the first namespace")
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, n.Ready(short), "before the first namespace")

		_, err = n.Namespace(ctx, chat, nil)
		require.NoError(t, err)
		require.NoError(t, n.Ready(ctx))
		began := time.Now()
		assert.True(t, n.Health().Ready)

		time.Sleep(time.Minute)
		cut := time.Now()
		memorytest.Cut(b, errors.New("cable"))
		settle()
		h := n.Health()
		assert.False(t, h.Ready || h.Subscribed.Up || h.Queries.Up, "%+v", h)
		assert.Equal(t, cut, h.Subscribed.Since)
		assert.ErrorContains(t, h.Subscribed.Err, "cable")
		time.Sleep(3 * time.Second)
		assert.False(t, n.Health().Publishing.Up)

		memorytest.Heal(b)
		require.NoError(t, n.Ready(ctx))
		h = n.Health()
		assert.True(t, h.Queries.Up)
		assert.True(t, h.Subscribed.Since.After(began))
		assert.ErrorContains(t, h.Subscribed.Err, "cable", "the last error stays")
		require.NoError(t, n.Close(ctx))
		assert.Equal(t, observe.Health{}, n.Health(), "after Close")
		assert.ErrorIs(t, n.Ready(ctx), backplane.ErrClosed)
		require.NoError(t, b.Close(ctx))
	})
}

// TestHealthWithoutAReport: a link that is dead without a report of the broker is known from the missing heartbeats.
func TestHealthWithoutAReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		dead := make(chan struct{})
		f.addOn(f.bus.Broker(), func(b broker.Broker) broker.Broker {
			return &mute{b, func() bool {
				select {
				case <-dead:
					return true
				default:
					return false
				}
			}}
		}, &backplane.Options{}, nil)
		f.meet()
		n := f.nodes[1]
		require.NoError(t, n.Ready(t.Context()))
		close(dead)
		time.Sleep(3500 * time.Millisecond)
		h := n.Health()
		assert.False(t, h.Ready)
		assert.False(t, h.Publishing.Up)
		assert.True(t, h.Subscribed.Up, "the other node's heartbeats arrive")
		assert.True(t, f.nodes[0].Health().Ready)
	})
}

func BenchmarkHealth(b *testing.B) {
	n, err := backplane.New(memorybroker.New(nil), nil)
	require.NoError(b, err)
	_, err = n.Namespace(b.Context(), chat, nil)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		n.Health()
	}
	require.NoError(b, n.Close(context.Background()))
}
