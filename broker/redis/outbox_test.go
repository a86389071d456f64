package redisbroker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

// collector is a connection that records the written bytes.
type collector struct {
	out     *outbox
	batches []string
}

func (c *collector) Connect(context.Context) (brokerkit.Connection, error) { return c, nil }

func (c *collector) Serve(context.Context, time.Duration) error {
	c.out.Send(c, func() bool { <-c.out.Work(); return true })
	return nil
}

func (c *collector) Write(b *brokerkit.Batch[*message]) (int, error) {
	c.batches = append(c.batches, string(b.Bytes()))
	c.out.Settle(b.Len(), nil)
	return b.Len(), nil
}

func TestOutboxEncodes(t *testing.T) {
	c := &collector{}
	opts := (*Options)(nil).withDefaults()
	c.out = newOutbox(mustNaming(t, opts.Prefix), &opts, c)
	payloads := []string{"one", "", "\r\n", strings.Repeat("x", batchBytes), "last"}
	var want []byte
	for _, p := range payloads {
		require.NoError(t, c.out.put(t.Context(), broker.SocketIO.Room("/", "r"), []byte(p)))
		want = appendCommand(want, "PUBLISH", "socket.io#/#r#", p)
	}
	require.NoError(t, c.out.Close(t.Context()))
	require.Equal(t, string(want), strings.Join(c.batches, ""), "wrote")
	var s broker.Stats
	c.out.Fill(&s)
	require.Equal(t, broker.Stats{Accepted: 5, Sent: 5}, s)
}
