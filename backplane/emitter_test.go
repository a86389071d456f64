package backplane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// An emitter reaches every node, is not a node, and receives nothing.
func TestEmitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := make(chan string, 10)
		f := newFleet(t, 2, backplane.Options{}, func(i int) *nsOptions {
			return &nsOptions{OnEvent: func(_ context.Context, _ string, p []byte, reply func([]byte)) {
				events <- fmt.Sprintf("%d: %s, %t", i, p, reply != nil)
			}}
		})
		a, b := f.socket(0, "a", "red"), f.socket(1, "b", "blue")
		bus := f.bus.Broker()
		defer bus.Close(context.Background())
		var seen watcher
		e, err := backplane.NewEmitter(bus, &backplane.EmitterOptions{Observers: []observe.Observer{&seen}})
		require.NoError(t, err)
		ctx := t.Context()
		payload := []byte("to red")
		require.NoError(t, e.Broadcast(ctx, chat, payload, backplane.To("red").Header(map[string]string{"k": "v"})))
		copy(payload, "XXXXXX")
		settle()
		m := <-a.got
		assert.Equal(t, "to red", string(m.Payload))
		assert.Equal(t, "v", m.Header["k"])
		require.True(t, strings.HasPrefix(m.Origin, "emitter~"))
		assert.Empty(t, b.got)
		steps := []error{
			e.JoinAll(ctx, chat, backplane.All(), "all", "more"),
			e.LeaveAll(ctx, chat, backplane.To("blue"), "more", "blue"),
			e.Event(ctx, chat, []byte("news")),
			e.DisconnectAll(ctx, chat, backplane.All().Except("a"), true),
			e.Flush(ctx),
		}
		require.NoError(t, errors.Join(steps...))
		settle()
		for i, want := range [][]string{{"a", "all", "more", "red"}, {"all", "b"}} {
			rooms, _ := f.ns[i].LocalRoomsOf([]string{"a", "b"}[i])
			assert.ElementsMatch(t, want, rooms, "rooms")
		}
		assert.ElementsMatch(t, []string{"0: news, false", "1: news, false"}, []string{<-events, <-events}, "events")
		require.Empty(t, a.gone, "disconnected")
		require.Len(t, b.gone, 1, "disconnected")
		assert.True(t, <-b.gone, "disconnected")
		for i := range f.nodes {
			n, err := serversOf(ctx, f.ns[i])
			if assert.NoError(t, err, "node %d counts", i) {
				assert.Equal(t, 2, n, "node %d counts", i)
				assert.Len(t, f.nodes[i].KnownPeers(), 1, "node %d counts", i)
			}
		}
		want := []string{"publish", "request join", "request leave", "request event", "request disconnect"}
		for i, s := range seen.closed(t) {
			assert.Less(t, i, len(want), "the observer saw %q", s)
			assert.True(t, strings.HasPrefix(s, want[i]), "the observer saw %q", s)
		}
	})
}

func TestEmitterErrors(t *testing.T) {
	ctx := t.Context()
	var option *backplane.OptionError
	if _, err := backplane.NewEmitter(nil, nil); !errors.As(err, &option) || option.Option != "Broker" {
		t.Errorf("without a broker: %v", err)
	}
	b := memorybroker.New(&memorybroker.Options{MaxPayload: 1000})
	if _, err := backplane.NewEmitter(b, &backplane.EmitterOptions{Observers: []observe.Observer{nil}}); !errors.As(err, &option) || option.Option != "Observers" {
		t.Errorf("with a nil observer: %v", err)
	}
	e, err := backplane.NewEmitter(b, &backplane.EmitterOptions{Observers: []observe.Observer{rudeEmitterObserver{}}})
	require.NoError(t, err)
	var name *backplane.NameError
	var size *broker.PayloadError
	long := strings.Repeat("x", broker.MaxNameLen+1)
	for what, err := range map[string]error{
		"namespace": e.Event(ctx, "\xff", nil),
		"room":      e.Broadcast(ctx, chat, nil, backplane.To(long)),
		"except":    e.Broadcast(ctx, chat, nil, backplane.All().Except(long)),
		"target":    e.JoinAll(ctx, chat, backplane.All(), long),
	} {
		assert.ErrorAs(t, err, &name, what)
	}
	for what, err := range map[string]error{
		"broadcast": e.Broadcast(ctx, chat, make([]byte, 1000), backplane.All()),
		"event":     e.Event(ctx, chat, make([]byte, 1000)),
	} {
		if assert.ErrorAs(t, err, &size, what) {
			assert.Equal(t, 1000, size.Max, what)
		}
	}
	assert.ErrorIs(t, e.DisconnectAll(ctx, chat, backplane.All().Local(), true), errors.ErrUnsupported, "a local target")
	assert.NoError(t, e.Broadcast(ctx, chat, []byte("x"), backplane.All()), "with an observer that panics")
	ended, cancel := context.WithCancel(ctx)
	cancel()
	assert.ErrorIs(t, e.Broadcast(ended, chat, nil, backplane.All()), context.Canceled, "with an ended context")
	closing, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	assert.NoError(t, b.Close(closing))
	assert.ErrorIs(t, e.Event(ctx, chat, nil), broker.ErrClosed, "after the broker's Close")
	var zero backplane.Emitter
	assert.Error(t, errors.Join(zero.Flush(ctx)), "an emitter that is none flushes")
	assert.Error(t, zero.Broadcast(ctx, chat, nil, backplane.All()), "an emitter that is none publishes")
}

type rudeEmitterObserver struct{ observe.Nop }

func (rudeEmitterObserver) PublishStart(context.Context, *observe.Publish) context.Context {
	panic("start")
}

func (rudeEmitterObserver) PublishEnd(context.Context, *observe.Publish) { panic("end") }
