package backplane_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
)

// TestAwaitPeers: the wait ends when the nodes are known, when the introductions are complete, and with its context.
func TestAwaitPeers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFleet(t, 1, backplane.Options{}, nil)
		node := f.nodes[0]
		began := time.Now()
		alone, err := node.AwaitPeers(t.Context(), 0)
		require.NoError(t, err)
		assert.Empty(t, alone)
		assert.LessOrEqual(t, time.Since(began), 250*time.Millisecond)

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		some, err := node.AwaitPeers(short, 2)
		assert.Equal(t, context.DeadlineExceeded, err)
		assert.Empty(t, some)

		type result struct {
			peers []observe.Peer
			err   error
		}
		done := make(chan result, 1)
		go func() {
			peers, err := node.AwaitPeers(t.Context(), 2)
			done <- result{peers, err}
		}()
		settle()
		f.add(&backplane.Options{}, nil)
		settle()
		require.Empty(t, done, "returned with one peer")
		f.add(&backplane.Options{}, nil)
		r := <-done
		require.NoError(t, r.err)
		assert.Len(t, r.peers, 2)

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		known, err := node.AwaitPeers(ended, 9)
		assert.Equal(t, context.Canceled, err)
		assert.Len(t, known, 2)
		go func() {
			peers, err := node.AwaitPeers(t.Context(), 9)
			done <- result{peers, err}
		}()
		settle()
		require.NoError(t, node.Close(t.Context()))
		assert.ErrorIs(t, (<-done).err, backplane.ErrClosed)
	})
}
