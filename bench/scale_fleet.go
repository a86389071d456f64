package main

// Fleets whose messages are counted, for scale.go.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// traffic counts the messages that nodes publish, and those that they receive.
type traffic struct {
	published, delivered, bytes, largest atomic.Int64
	want                                 func(broker.Kind) bool
}

func (t *traffic) reset() {
	t.published.Store(0)
	t.delivered.Store(0)
	t.bytes.Store(0)
	t.largest.Store(0)
}

func control(k broker.Kind) bool {
	return k == broker.Control().Kind() || k == broker.NodeControl("").Kind()
}
func requesting(k broker.Kind) bool {
	return k == broker.KindRequests || k == broker.KindResponses || k == broker.KindNodeResponses
}
func casting(k broker.Kind) bool { return k == broker.KindBroadcast || k == broker.KindRoom }

// metered is a broker whose messages are counted.
type metered struct {
	broker.Broker
	*traffic
}

func (b *metered) Publish(ctx context.Context, ch broker.Channel, payload []byte) error {
	if b.want(ch.Kind()) {
		b.published.Add(1)
		for size := int64(len(payload)); ; {
			if old := b.largest.Load(); old >= size || b.largest.CompareAndSwap(old, size) {
				break
			}
		}
	}
	return b.Broker.Publish(ctx, ch, payload)
}

func (b *metered) Subscribe(ctx context.Context, r broker.Receiver, filters ...broker.Filter) (broker.Subscription, error) {
	return b.Broker.Subscribe(ctx, &meteredReceiver{r, b.traffic}, filters...)
}

type meteredReceiver struct {
	broker.Receiver
	*traffic
}

func (r *meteredReceiver) Deliver(ch broker.Channel, payload []byte) {
	if r.want(ch.Kind()) {
		r.delivered.Add(1)
		r.bytes.Add(int64(len(payload)))
	}
	r.Receiver.Deliver(ch, payload)
}

// fleet starts n nodes at once, with a namespace each, and waits until all know each other.
func (s *stage) fleet(ctx context.Context, n int, want func(broker.Kind) bool, open func() (broker.Broker, error), opts *backplane.NamespaceOptions) (*traffic, []*backplane.Namespace, error) {
	t := &traffic{want: want}
	list := make([]*backplane.Namespace, n)
	errs := make(chan error, n)
	var mu sync.Mutex
	for i := range n {
		go func() {
			b, err := open()
			if err != nil {
				errs <- err
				return
			}
			node, err := backplane.New(&metered{b, t}, &backplane.Options{Name: fmt.Sprint("n", i), RequestsTimeout: time.Minute, PeerTimeout: time.Minute})
			if err == nil {
				mu.Lock()
				s.later(func() error { return b.Close(context.Background()) })
				s.later(func() error { return node.Close(context.Background()) })
				mu.Unlock()
				list[i], err = node.Namespace(ctx, "/", opts)
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return nil, nil, err
		}
	}
	return t, list, s.known(ctx, list)
}

// known waits until all nodes know each other, and until nothing more is sent.
func (s *stage) known(ctx context.Context, list []*backplane.Namespace) error {
	for _, ns := range list {
		if peers, err := ns.Node().AwaitPeers(ctx, len(list)-1); err != nil {
			return fmt.Errorf("%d peers: %w", len(peers), err)
		}
	}
	return pause(ctx, 500*time.Millisecond) // announcements that are not needed are counted too
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func onBus() func() (broker.Broker, error) {
	bus := memorybroker.NewBus(nil)
	return func() (broker.Broker, error) { return bus.Broker(), nil }
}

// staged runs f with a stage.
func (s *scaling) staged(f func(*stage) error) error {
	st := &stage{env: s.env, length: 2 * time.Second}
	err := f(st)
	if end := st.close(); err == nil {
		err = end
	}
	return err
}

// plain is a member that does nothing.
type plain struct {
	id    string
	about []byte
}

func (m *plain) ID() string                 { return m.id }
func (m *plain) Deliver(*backplane.Message) {}
func (m *plain) Disconnect(bool)            {}
func (m *plain) Describe() []byte           { return m.about }

func enter(ctx context.Context, ns *backplane.Namespace, m *plain, rooms ...string) error {
	if err := ns.Add(ctx, m); err != nil {
		return err
	}
	return ns.Join(ctx, m.id, rooms...)
}
