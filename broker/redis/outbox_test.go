package redisbroker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/brokerkit"
)

// collector is a connection that keeps what is written.
type collector struct {
	out     *outbox
	batches []string
}

func (c *collector) Connect(context.Context) (brokerkit.Connection, error) { return c, nil }

func (c *collector) Serve(context.Context, time.Duration) error {
	c.out.Send(c, func() bool { <-c.out.Work(); return true })
	return nil
}

func (c *collector) Write(b *brokerkit.Batch[struct{}]) (int, error) {
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
		if err := c.out.put(t.Context(), broker.SocketIO.Room("/", "r"), []byte(p)); err != nil {
			t.Fatal(err)
		}
		want = appendCommand(want, "PUBLISH", "socket.io#/#r#", p)
	}
	if err := c.out.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.batches, ""); got != string(want) {
		t.Fatalf("wrote %.80q, want %.80q", got, want)
	}
	var s broker.Stats
	if c.out.Fill(&s); s != (broker.Stats{Accepted: 5, Sent: 5}) {
		t.Fatalf("Stats %+v", s)
	}
}
