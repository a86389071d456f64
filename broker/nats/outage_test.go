package natsbroker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

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
		Wire:    broker.Native,
		Start:   func(t testing.TB) brokertest.Server { return servers.StartNATS(t, nil) },
		Open:    func(t testing.TB, addr string) broker.Broker { return open(t, addr, opts) },
		Notices: opts.ProbeInterval + opts.ProbeTimeout,
		Silent: func(err error) bool {
			var silence *natsbroker.SilenceError
			return errors.As(err, &silence) && silence.Timeout()
		},
	})
}

// TestRestartUnderLoad kills the server with SIGKILL while 8 goroutines publish
// through two brokers, and starts it again, three times.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, nil)
	type node struct {
		b      *natsbroker.Broker
		r      *recorder
		losses *brokertest.Losses
	}
	var nodes [2]node
	for i := range nodes {
		n := &nodes[i]
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
			for seen := 0; seen < 200; seen++ { // the load is there
				n.r.Next()
			}
		}
		srv.Kill()
		srv.Restart()
		for _, n := range nodes {
			for c := n.r.Next(); c.What != "resumed"; c = n.r.Next() {
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
		last := map[broker.Channel]string{}
		for _, c := range n.r.Until(fmt.Sprint("end ", 1-i)) {
			if c.What == "deliver" && c.Ch != marker {
				if c.Payload <= last[c.Ch] {
					t.Fatalf("%v after %s", c, last[c.Ch])
				}
				last[c.Ch] = c.Payload
			}
		}
		if len(last) != 8 {
			t.Errorf("node %d heard %d of 8 senders after the last outage", i, len(last))
		}
		s := balanced(t, n.b, n.losses)
		if s.Interruptions != 3 || s.Lost != 0 || s.QueuedMessages != 0 {
			t.Errorf("node %d: Stats %+v", i, s)
		}
		t.Logf("node %d: %d accepted, %d uncertain", i, s.Accepted, s.Uncertain)
	}
}
