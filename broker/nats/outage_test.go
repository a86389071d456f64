package natsbroker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/internal/servers"
)

var (
	room   = broker.Native.Room("/", "room")
	marker = broker.Native.Room("/", "marker")
)

func TestOutages(t *testing.T) {
	t.Parallel()
	opts := quick()
	brokertest.Outages(t, &brokertest.Kind{
		Protocol: broker.Native,
		Start:    func(t testing.TB) brokertest.Server { return servers.StartNATS(t, nil) },
		Open:     func(t testing.TB, addr string) broker.Broker { return open(t, addr, opts) },
		Notices:  opts.ProbeInterval + opts.ProbeTimeout,
		Silent: func(err error) bool {
			var late *broker.TimeoutError
			return errors.As(err, &late) && late.Timeout()
		},
	})
}

// TestRestartUnderLoad kills the server with SIGKILL while 8 goroutines publish
// through two brokers, and restarts it, three times. After each outage both receive each
// other's messages, and no message arrives twice or out of order.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	type node struct {
		b      *natsbroker.Broker
		r      *recorder
		losses *brokertest.Losses
		last   map[broker.Channel]string // payload
		heard  map[broker.Channel]bool   // received since the last outage
	}
	take := func(n *node, c brokertest.Call) {
		t.Helper()
		switch {
		case c.What == "resumed":
			clear(n.heard)
		case c.What == "deliver" && c.Ch != marker:
			require.Greater(t, c.Payload, n.last[c.Ch], "%v", c)
			n.last[c.Ch], n.heard[c.Ch] = c.Payload, true
		}
	}
	nodes := [2]*node{}
	for i := range nodes {
		n := &node{last: map[broker.Channel]string{}, heard: map[broker.Channel]bool{}}
		nodes[i] = n
		n.b, n.r = open(t, srv.URL(), quick()), record(t)
		n.losses = watchLosses(t, n.b)
		subscribe(t, n.b, n.r, broker.Native.EveryRoom("/"))
	}
	stop := make(chan struct{})
	var sending sync.WaitGroup
	for i := range nodes {
		for g := range 4 {
			sending.Go(func() {
				ch := broker.Native.Room("/", fmt.Sprint(i, " ", g))
				for seq := 0; ; seq++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(rand.IntN(200)) * time.Microsecond): // the load
					}
					if err := nodes[i].b.Publish(context.Background(), ch, fmt.Appendf(nil, "%08d", seq)); err != nil {
						t.Errorf("Publish: %v", err)
						return
					}
				}
			})
		}
	}
	for range 3 {
		for _, n := range nodes {
			for range 200 { // until the load has started
				take(n, n.r.Next())
			}
		}
		srv.Kill()
		srv.Restart()
		for _, n := range nodes {
			for resumed := false; !resumed || len(n.heard) < 8; {
				c := n.r.Next()
				resumed = resumed || c.What == "resumed"
				take(n, c)
			}
		}
	}
	close(stop)
	sending.Wait()
	for _, n := range nodes {
		var loss *broker.LossError
		if err := n.b.Flush(within(t, patience)); err != nil && !errors.As(err, &loss) {
			t.Fatal(err)
		}
	}
	for i, n := range nodes {
		publish(t, n.b, marker, fmt.Sprint("end ", i))
		flush(t, n.b)
	}
	for i, n := range nodes {
		for _, c := range n.r.Until(fmt.Sprint("end ", 1-i)) {
			take(n, c)
		}
		s := balanced(t, n.b, n.losses)
		assert.EqualValues(t, 3, s.Interruptions, "node %d: Stats", i)
		assert.Zero(t, s.Lost, "node %d: Stats", i)
		assert.Zero(t, s.QueuedMessages, "node %d: Stats", i)
		t.Logf("node %d: %d accepted, %d uncertain", i, s.Accepted, s.Uncertain)
	}
}
