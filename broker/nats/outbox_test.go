package natsbroker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

// unreachable is a server that no connection reaches.
type unreachable struct{}

func (unreachable) Connect(ctx context.Context) (brokerkit.Connection, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestPingDoesNotForgetAWrite: a message that Put writes while the sender prepares a ping is either covered by the ping or
// wakes the sender again. Therefore the sender resets its counters with the outbox's lock, never during a Put.
func TestPingDoesNotForgetAWrite(t *testing.T) {
	opts := &Options{WindowBytes: 1 << 10, QueueMessages: 10, QueueBytes: 1 << 20, QueueAge: time.Hour}
	o := newOutbox(opts, 1<<20, unreachable{}, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	defer o.Close(ended)
	o.Wake() // starts the sender, which makes the writes
	cleared := make(chan int, 1)
	within := make(chan struct{})
	o.Put(t.Context(), brokerkit.Size{Payload: 1, Wire: 1}, message{to: &target{ch: broker.Native.Room("/", "room")}}, func(buf []byte) []byte {
		o.wrote(1, true) // as a Write does, with the lock held
		go func() {
			close(within)
			cleared <- o.pinging()
		}()
		<-within
		select {
		case <-cleared:
			t.Error("the sender has reset its counters while a message was being written")
		case <-time.After(20 * time.Millisecond): // usually enough to show the defect
		}
		assert.True(t, o.urgent, "the record of this message is lost")
		assert.Equal(t, 1, o.unconfirmed)
		return append(buf, 'x')
	})
	require.Zero(t, <-cleared, "nothing is in flight")
	require.False(t, o.urgent)
	require.Zero(t, o.unconfirmed)
}
