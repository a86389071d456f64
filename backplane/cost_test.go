package backplane_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// meter counts announcements, and their deliveries.
type meter struct {
	published, delivered atomic.Int64 // frames
	bytes                atomic.Int64 // published
}

// metered is a broker whose control frames are counted.
type metered struct {
	broker.Broker
	*meter
}

func (b *metered) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if ch.Kind() == kindControl {
		b.published.Add(1)
		b.bytes.Add(int64(len(payload)))
	}
	return b.Broker.Publish(ctx, ch, payload)
}

func (b *metered) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	if filters[0].Channel().Kind() == kindControl {
		r = &meteredReceiver{r, b.meter}
	}
	return b.Broker.Subscribe(ctx, r, filters...)
}

type meteredReceiver struct {
	broker.Receiver
	*meter
}

func (r *meteredReceiver) Deliver(ch broker.Channel, payload []byte) {
	r.delivered.Add(1)
	r.Receiver.Deliver(ch, payload)
}

// meteredFleet makes nodes whose announcements are counted. They live only in the bubble of the
// test, and send no heartbeats while it runs.
func meteredFleet(t *testing.T, size int, wrap func(broker.Broker) broker.Broker) (*meter, []*backplane.Node) {
	t.Helper()
	m, bus := new(meter), memorybroker.NewBus(nil)
	nodes := make([]*backplane.Node, size)
	for i := range nodes {
		b := bus.Broker()
		as := broker.Broker(b)
		if wrap != nil {
			as = wrap(as)
		}
		var err error
		nodes[i], err = backplane.New(&metered{as, m}, &backplane.Options{Name: fmt.Sprint("n", i), Heartbeat: time.Hour, StallTimeout: -1})
		require.NoError(t, err)
		t.Cleanup(func() {
			assert.NoError(t, nodes[i].Close(context.Background()))
			assert.NoError(t, b.Close(context.Background()))
		})
	}
	return m, nodes
}

func open(t *testing.T, n *backplane.Node, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := n.Namespace(context.Background(), name, nil)
		assert.NoError(t, err)
	}
}

// The cost of announcing namespaces grows with their number, not with its square.
func TestCostOfNamespaces(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, spaces := range []int{1000, 3000} {
			bubble(t, func(t *testing.T) {
				m, nodes := meteredFleet(t, 2, kind.wrap)
				names := make([]string, spaces)
				for i := range names {
					names[i] = fmt.Sprint("/", i)
				}
				for _, n := range nodes {
					open(t, n, names...)
				}
				time.Sleep(20 * time.Millisecond) // the last ones wait for others
				settle()
				for i, n := range nodes {
					assert.Equal(t, spaces, len(served(n, nodes[1-i].ID())), "%s: what node %d knows", kind.name, i)
				}
				bytes := m.bytes.Load()
				t.Logf("%s: %d namespaces on 2 nodes: %d bytes in %d frames announced", kind.name, spaces, bytes, m.published.Load())
				if each := bytes / int64(spaces); each > 300 { // 120 for each of two nodes, or less if they come fast
					t.Errorf("%s: %d bytes for each of %d namespaces", kind.name, each, spaces)
				}
			})
		}
	}
}

// The cost of starting a fleet grows with the square of its size.
func TestCostOfMassStart(t *testing.T) {
	for _, kind := range brokerKinds {
		for _, size := range fleetSizes(16, 64, 128) {
			bubble(t, func(t *testing.T) {
				m, nodes := meteredFleet(t, size, kind.wrap)
				var all sync.WaitGroup
				for _, n := range nodes {
					all.Go(func() { open(t, n, chat) })
				}
				all.Wait()
				time.Sleep(time.Second)
				settle()
				for _, n := range nodes {
					assert.Equal(t, size-1, len(n.KnownPeers()), "%s: what %s knows", kind.name, n.ID())
				}
				delivered := m.delivered.Load()
				t.Logf("%s: %d nodes at once: %d deliveries, %.2f N²", kind.name, size, delivered, float64(delivered)/float64(size*size))
				assert.LessOrEqual(t, delivered, int64(8*size*size), "%s: deliveries for %d nodes", kind.name, size)
			})
		}
	}
}

// The cost of one more node grows with the size of the fleet.
func TestCostOfOneMore(t *testing.T) {
	for _, others := range fleetSizes(63, 256) {
		bubble(t, func(t *testing.T) { costOfOneMore(t, others+1) })
	}
}

func costOfOneMore(t *testing.T, size int) {
	m, nodes := meteredFleet(t, size, nil)
	for _, n := range nodes[:size-1] {
		open(t, n, chat)
	}
	settle()
	time.Sleep(time.Second)
	settle()
	before := m.delivered.Load()
	open(t, nodes[size-1], chat)
	time.Sleep(time.Second)
	settle()
	assert.Equal(t, size-1, len(nodes[size-1].KnownPeers()), "other nodes that it knows")
	delivered := m.delivered.Load() - before
	t.Logf("a node that joins %d others: %d deliveries", size-1, delivered)
	assert.LessOrEqual(t, delivered, int64(16*size), "deliveries")
}
