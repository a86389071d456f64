package backplane_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// countingCodec records the foreign peers that it gets.
type countingCodec struct {
	wire.Codec
	told atomic.Value // of Unannounced
}

func (c *countingCodec) Expect(ns string, r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	c.told.Store(p)
	return wire.Expected{Silent: p.Total}, nil
}

// The list of peers with a response channel of their own is cached for a while, but not their
// number: one of them may introduce itself, and another one may start that does not.
func TestRespondersWhoIntroduceThemselves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 0, backplane.Options{}, nil)
		codec := &countingCodec{Codec: backplane.NativeCodec()}
		f.add(&backplane.Options{}, &nsOptions{Codec: codec})
		ask := func(what string, want wire.Unannounced) {
			t.Helper()
			_, err := f.ns[0].Members(t.Context(), backplane.All())
			assert.NoError(t, err, what)
			assert.Equal(t, want, codec.told.Load(), what)
		}
		w := f.wire("node")
		w.onRequest(func(r *wire.Request) { w.answer(r, "node", wire.Response{}) })
		ask("a stranger with a channel of its own", wire.Unannounced{Total: 1, Responding: 1})
		w.control(full, "node", 1, 1, chat)
		settle()
		ask("it has introduced itself", wire.Unannounced{Total: 0, Responding: -1})
		mute := f.bus.Broker()
		_, err := mute.Subscribe(t.Context(), w, broker.Exactly(requestsChannel))
		require.NoError(t, err)
		ask("a stranger without one", wire.Unannounced{Total: 1, Responding: 0})
		require.NoError(t, mute.Close(t.Context()))
	})
}
